// A tokenizer: normalizer -> added tokens -> pre-tokenizer -> subword model, and back by a decoder.
//
// Byte-level tokenizers (GPT-2, Llama 3, Qwen, tiktoken) without a normalizer take any bytes, and
// decode(encode(text)) == text. All others work on characters, so a byte that is not part of
// well-formed UTF-8 becomes U+FFFD first (SentencePiece's rule), and normalizing may change a text.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/added_tokens.h"
#include "data/normalizer.h"
#include "data/pretokenizer.h"
#include "data/subword_model.h"
#include "data/tokenizer_model.h"

namespace bessemer::data {

/// Whether added tokens in a text become their ids, or are text like any other.
enum class AddedTokens { as_ids, as_text };

/// Immutable once made; any number of threads may use it, each with its own Encoder. Movable, but
/// not while an Encoder refers to it.
class Tokenizer {
 public:
  /// InputError where `model` contradicts itself.
  explicit Tokenizer(TokenizerModel model);

  /// One more than the highest id.
  std::int32_t vocabulary_size() const { return static_cast<std::int32_t>(model_.tokens.size()); }

  /// For a text now and then; make an Encoder for many.
  std::vector<std::int32_t> encode(std::string_view text,
                                   AddedTokens added = AddedTokens::as_ids) const;

  /// InputError names an id that is no token.
  std::string decode(std::span<const std::int32_t> ids) const;

  /// What a token stands for inside a text; empty for an id that is none.
  std::string_view token_bytes(std::int32_t id) const;

  /// The id of an added token by its content, or of a token by its bytes or, where it has one, its
  /// piece.
  std::optional<std::int32_t> find_token(std::string_view text) const;

  /// The token between documents: the one that the file names, else "<|endoftext|>",
  /// "<|end_of_text|>", "</s>", "<eos>" or "<|im_end|>", the first of these that was added.
  /// InputError where there is none.
  std::int32_t end_of_text() const;

  /// Whether the tokens of a text cut as `ReaderOptions::piece_bytes` says are those of the whole.
  bool cuttable() const { return cuttable_; }

  const TokenizerModel& model() const { return model_; }

 private:
  friend class Encoder;

  void place_added();
  void index_added();
  bool find_cuttable() const;

  TokenizerModel model_;
  Normalizer normalizer_;
  Pretokenizer pretokenizer_;
  std::shared_ptr<const TokenIndex> index_;  // of model_.tokens
  std::unique_ptr<SubwordModel> subwords_;
  std::array<AddedTokenSet, 2> added_;  // the two rounds: not normalized, normalized
  bool cuttable_ = false;
  bool wants_utf8_ = false;  // some part works on characters
};

/// Encodes texts on one thread, remembering the words it met. Refers to its tokenizer.
class Encoder {
 public:
  /// Longer words are cut about every so many bytes, so that memory stays bounded. (The only place
  /// where ids can differ from the original's.)
  static constexpr std::size_t kLongestWord = 4 << 20;

  explicit Encoder(const Tokenizer& tokenizer);

  /// Appends the ids of `text` to `ids`.
  void encode(std::string_view text, AddedTokens added, std::vector<std::int32_t>& ids);

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t word = 0, word_size = 0;  // in words_; size 0: free
    std::uint32_t ids = 0, ids_size = 0;    // in ids_
  };

  void encode_raw(std::string_view text, AddedTokens added, bool first,
                  std::vector<std::int32_t>& ids);
  void encode_normalized(std::string_view text, AddedTokens added, bool first,
                         std::vector<std::int32_t>& ids);
  void encode_plain(std::string_view text, bool first, std::vector<std::int32_t>& ids);
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids);
  void remember(std::size_t slot, std::uint64_t hash, std::string_view word,
                std::span<const std::int32_t> ids);

  const Tokenizer* tokenizer_;
  Pretokenizer::Words splitter_;
  SubwordModel::Scratch scratch_;
  std::vector<Entry> cache_;  // open addressing; forgotten as a whole when full
  std::size_t cached_ = 0;
  std::vector<char> words_;
  std::vector<std::int32_t> ids_;
};

}  // namespace bessemer::data

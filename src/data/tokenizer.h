// Byte-level byte-pair tokenizers of the GPT-2 and Llama 3 kinds.
//
// Invariant: decode(encode(text)) == text for any bytes at all, in either treatment of added
// tokens. It rests on the vocabulary having a token for each of the 256 bytes, which is checked.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/bpe.h"
#include "data/pretokenizer.h"

namespace bessemer::data {

struct Token {
  std::string bytes;     // empty: no token has this id
  bool literal = false;  // written as it is in tokenizer.json, not in the byte alphabet; only
                         // decoded, never produced by merging
};

/// A token that is found in the text before it is cut into words.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;      // UTF-8
  bool special = true;      // marks structure rather than text
  bool normalized = false;  // matched after those that are not (Hugging Face's order)
};

/// All that makes a tokenizer, as plain data.
struct TokenizerModel {
  std::vector<Token> tokens;                                  // by id
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;  // by rank
  std::vector<AddedToken> added;
  std::string pattern{kGpt2Pattern};  // what cuts words; empty: nothing
  bool ignore_merges = false;         // a word that is a token is that token, whatever the merges
  std::string post_processor;         // JSON, kept for who reads the file after us; "" is null
};

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

  /// The bytes of a token; empty for an id that is none.
  std::string_view token_bytes(std::int32_t id) const;

  /// The id of an added token by its content, or of a token by its bytes.
  std::optional<std::int32_t> find_token(std::string_view bytes) const;

  /// The token between documents: "<|endoftext|>", "<|end_of_text|>", "</s>" or "<|im_end|>",
  /// the first of these that was added. InputError where there is none.
  std::int32_t end_of_text() const;

  /// Whether the tokens of a text cut as `ReaderOptions::piece_bytes` says are those of the whole.
  bool cuttable() const { return pretokenizer_.cuttable(); }

  const TokenizerModel& model() const { return model_; }

 private:
  friend class Encoder;

  /// Added tokens of one round, found leftmost, longest first.
  struct AddedSet {
    std::unordered_map<std::string_view, std::int32_t> ids;
    std::vector<std::size_t> lengths;  // distinct, longest first
    std::array<bool, 256> starts{};    // bytes that one begins with
    struct Found {
      std::size_t begin = 0, length = 0;  // length 0: none
      std::int32_t id = -1;
    };
    Found find(std::string_view text, std::size_t from) const;
  };

  void index_tokens();
  void index_added();
  void index_merges();

  TokenizerModel model_;
  Pretokenizer pretokenizer_;
  std::unordered_map<std::string_view, std::int32_t> id_of_;  // views into model_.tokens
  std::array<std::int32_t, 256> byte_id_{};
  MergeTable merges_;
  std::array<AddedSet, 2> added_;  // the two rounds: not normalized, normalized
};

/// Encodes texts on one thread, remembering the words it met. Refers to its tokenizer.
class Encoder {
 public:
  /// Longer words are cut every so many bytes before merging, so that memory stays bounded. (The
  /// only place where ids can differ from Hugging Face's.)
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

  void encode_round(std::size_t round, std::string_view text, std::vector<std::int32_t>& ids);
  void encode_plain(std::string_view text, std::vector<std::int32_t>& ids);
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids);
  void encode_new_word(std::string_view word, std::vector<std::int32_t>& ids);
  void remember(std::size_t slot, std::uint64_t hash, std::string_view word);

  const Tokenizer* tokenizer_;
  Pretokenizer::Words splitter_;
  WordMerger merger_;
  std::vector<std::int32_t> tokens_;  // of the word at hand
  std::vector<Entry> cache_;          // open addressing; forgotten as a whole when full
  std::size_t cached_ = 0;
  std::vector<char> words_;
  std::vector<std::int32_t> ids_;
};

}  // namespace bessemer::data

// All that makes a tokenizer, as plain data: what the readers of files fill in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/added_tokens.h"
#include "data/decoder.h"
#include "data/normalizer.h"
#include "data/pretokenizer.h"

namespace bessemer::data {

struct Token {
  std::string bytes;       // that it stands for, inside a text; empty: no token has this id
  bool literal = false;    // byte-level: written as it is in tokenizer.json, not in the byte
                           // alphabet; only decoded, never produced by merging
  std::string piece = {};  // of other kinds: as the model has it, with U+2581 for a space
};

/// Byte-level BPE: of GPT-2, Llama 3, Qwen, tiktoken. Its tokens have no `piece`.
struct ByteBpe {
  bool ignore_merges = false;  // a word that is a token is that token, whatever the merges
};

/// BPE over characters with bytes for unknown ones: of Llama 2, Mistral, Gemma.
struct PieceBpe {
  std::optional<std::int32_t> unknown;  // absent: unknown characters are dropped
  bool fuse_unknown = false;            // several in a row are one token
  bool byte_fallback = false;  // unknown characters become <0x..>, where all of these are there
  bool ignore_merges = false;
  std::vector<std::string> user_defined;  // pieces that are cut out first (SentencePiece)
};

/// The most probable of all ways to write a word in tokens (Kudo, "Subword Regularization", ACL
/// 2018): of T5, XLM-R.
struct Unigram {
  enum class Arithmetic { hugging_face, sentence_piece };  // how sums are rounded
  std::optional<std::int32_t> unknown;                     // absent: such a text is refused
  bool byte_fallback = false;
  Arithmetic arithmetic = Arithmetic::hugging_face;
  double unknown_score = 0;
  std::vector<double> scores;    // by id
  std::vector<bool> searchable;  // by id; whether text can become this token. Empty: all
};

struct TokenizerModel {
  std::vector<Token> tokens;  // by id
  std::vector<AddedToken> added;
  std::vector<NormalizerStep> normalizer;
  std::vector<PretokenizerStep> pretokenizer{PatternStep{std::string(kGpt2Pattern)}};
  std::variant<ByteBpe, PieceBpe, Unigram> subwords;
  // Both kinds of BPE merge either listed pairs, in that order, ...
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;  // by rank
  // ... or any two neighbours that make a token, lowest rank first (tiktoken, SentencePiece).
  std::vector<std::int32_t> ranks;  // by id; -1: never made. Empty: listed pairs
  Decoder decoder;
  std::optional<std::int32_t> end_of_text;  // where the file says which, else by name
  std::string post_processor;  // JSON, kept for who reads the file after us; "" is null

  bool byte_level() const { return std::holds_alternative<ByteBpe>(subwords); }
};

}  // namespace bessemer::data

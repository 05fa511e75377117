// Learns a byte-level BPE vocabulary from documents (Sennrich et al., ACL 2016).
//
// Words are counted in parallel; then the most frequent pair of neighbours becomes a token, again
// and again, each time touching only the places where that pair stands. Pairs of equal count go
// by lowest ids, so the result depends on nothing but the documents and the options; it is that
// of Hugging Face's trainer with the byte alphabet. Ids: special tokens, the 256 bytes in the
// order of their alphabet, then tokens as they are learned.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/source.h"
#include "data/tokenizer.h"

namespace bessemer::data {

struct BpeTrainerOptions {
  std::int32_t vocabulary = 32768;  // in all; fewer where the documents give no more pairs
  std::string pattern{kGpt2Pattern};
  std::vector<std::string> special_tokens{"<|endoftext|>"};
  std::uint64_t min_count = 2;  // a pair seen fewer times is not merged
};

class BpeTrainer {
 public:
  /// InputError where the vocabulary has no room for the bytes and special tokens.
  explicit BpeTrainer(BpeTrainerOptions options);

  /// Counts the words of some pieces, on all threads. Pieces must be cut where
  /// `ReaderOptions::piece_bytes` cuts them, if at all.
  void add(const std::vector<Piece>& pieces);

  /// Learns from all that was added. `progress`, where given, is called now and then with the
  /// number of tokens so far.
  Tokenizer train(const std::function<void(std::int32_t)>& progress = {}) const;

  /// Whether documents may come in pieces at all.
  bool cuttable() const { return pattern_.cuttable(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Counts = std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>>;

  void count(std::string_view text, Counts& counts) const;

  BpeTrainerOptions options_;
  WordPattern pattern_;
  std::vector<Counts> counts_;  // one for each thread
};

}  // namespace bessemer::data

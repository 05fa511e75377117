// The part of a tokenizer that makes the ids of a word. One file for each kind: byte_bpe.cpp,
// piece_bpe.cpp, unigram.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "data/bpe.h"
#include "data/token_index.h"

namespace bessemer::data {

struct TokenizerModel;

/// Immutable; what a thread needs besides lies in its Scratch.
class SubwordModel {
 public:
  /// The best way to a place of a word (Unigram).
  struct PathNode {
    double score = 0;
    std::int32_t id = -1;
    std::int32_t begin = -1;  // of the token that ends here; -1: no way leads here
  };
  struct Scratch {
    WordMerger merger;
    std::vector<std::int32_t> tokens;
    std::vector<PathNode> path;  // by place
  };

  SubwordModel() = default;
  virtual ~SubwordModel() = default;
  SubwordModel(const SubwordModel&) = delete;
  SubwordModel& operator=(const SubwordModel&) = delete;

  /// Appends the ids of `word`, which is not empty and, but for byte-level BPE, valid UTF-8.
  virtual void encode(std::string_view word, Scratch& scratch,
                      std::vector<std::int32_t>& ids) const = 0;

  /// The length of a front part of `text` whose ids, and then those of the rest, are the ids of the
  /// whole. So the words of texts that come uncut can be remembered too. `text` is not empty.
  virtual std::size_t front(std::string_view text) const { return text.size(); }
};

/// Each keeps what it needs of `model`, and `index`, which is that of the model. InputError where
/// the model contradicts itself.
std::unique_ptr<SubwordModel> make_byte_bpe(const TokenizerModel& model,
                                            std::shared_ptr<const TokenIndex> index);
std::unique_ptr<SubwordModel> make_piece_bpe(const TokenizerModel& model,
                                             std::shared_ptr<const TokenIndex> index);
std::unique_ptr<SubwordModel> make_unigram(const TokenizerModel& model,
                                           std::shared_ptr<const TokenIndex> index);

}  // namespace bessemer::data

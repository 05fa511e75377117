// The learning half of the BPE trainer: words as chains of tokens, the count and the places of
// every pair of neighbours.
#pragma once

#include <cstdint>
#include <queue>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bessemer::data {

class PairMerger {
 public:
  using Pair = std::pair<std::int32_t, std::int32_t>;

  /// Adds a word of these tokens that occurs `count` times. All words come before the first pop.
  void add_word(std::span<const std::int32_t> tokens, std::uint64_t count);

  /// Counts the pairs of all words.
  void start();

  struct Best {
    Pair pair;
    std::uint64_t count = 0;  // 0: no pair is left
  };
  /// The most frequent pair, of several the lowest. It is taken off: merge it or end.
  Best pop();

  /// Makes every place of `pair` (leftmost first) the one token `result`.
  void merge(Pair pair, std::int32_t result);

 private:
  struct Places {
    std::int64_t count = 0;
    std::vector<std::uint32_t> at;  // of the left token; some may be out of date
  };
  struct Candidate {
    std::uint64_t count;
    std::uint64_t key;
    bool operator<(const Candidate& other) const {  // the top of the queue is the greatest
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  void drop(std::uint32_t left, std::uint32_t right);
  void gain(std::uint32_t left, std::uint32_t right);

  static constexpr std::uint32_t kEnd = 0xFFFFFFFF;
  std::vector<std::int32_t> token_;  // by place; -1: merged away
  std::vector<std::uint32_t> next_, previous_;
  std::vector<std::uint32_t> word_;
  std::vector<std::uint64_t> word_count_;
  std::unordered_map<std::uint64_t, Places> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<std::uint64_t> gained_;  // pairs that grew in the merge at hand
};

}  // namespace bessemer::data

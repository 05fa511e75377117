// Byte-pair encoding of one word: while some pair of neighbours has a merge, the pair of lowest
// rank (leftmost where several have it) becomes one token (Sennrich et al., "Neural Machine
// Translation of Rare Words with Subword Units", ACL 2016).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bessemer::data {

/// Pairs of tokens that merge: a hash table with open addressing.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = -1;  // -1: the pair does not merge
    std::int32_t result = -1;
  };

  explicit MergeTable(std::size_t merges = 0);

  /// False where the pair is there already. Ranks and ids are not negative.
  bool insert(std::int32_t left, std::int32_t right, Merge merge);

  Merge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kFree) return {};
    }
  }

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kFree;
    Merge merge;
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> shift_);
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  int shift_ = 0;
};

/// Merges the tokens of a word in place. Short words look over all pairs at each merge; long ones
/// use a linked list and a heap, in O(n log n). Both give the same. For one thread.
class WordMerger {
 public:
  /// Words longer than this many tokens use the heap.
  static constexpr std::size_t kShort = 48;

  void merge(const MergeTable& table, std::vector<std::int32_t>& word) {
    word.size() <= kShort ? merge_short(table, word) : merge_long(table, word);
  }
  void merge_short(const MergeTable& table, std::vector<std::int32_t>& word);
  void merge_long(const MergeTable& table, std::vector<std::int32_t>& word);

  /// Pairs that merge_long() has looked up so far: what its work grows with.
  std::uint64_t lookups() const { return lookups_; }

 private:
  std::vector<MergeTable::Merge> pairs_;
  std::vector<std::uint32_t> next_, previous_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | position
  std::uint64_t lookups_ = 0;
};

}  // namespace bessemer::data

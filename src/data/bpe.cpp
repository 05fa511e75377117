#include "data/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.h"

namespace bessemer::data {

MergeTable::MergeTable(std::size_t merges) {
  const std::size_t size = std::bit_ceil(2 * merges + 2);
  slots_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
}

bool MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t slot = slot_of(key);
  while (slots_[slot].key != kFree) {
    if (slots_[slot].key == key) return false;
    slot = (slot + 1) & mask_;
  }
  slots_[slot] = {key, merge};
  return true;
}

void WordMerger::merge_short(const MergeTable& table, std::vector<std::int32_t>& word) {
  if (word.size() < 2) return;
  pairs_.resize(word.size() - 1);
  for (std::size_t i = 0; i + 1 < word.size(); ++i) pairs_[i] = table.find(word[i], word[i + 1]);
  while (!pairs_.empty()) {
    constexpr auto kNone = static_cast<std::uint32_t>(-1);
    std::size_t best = 0;
    auto best_rank = kNone;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto rank = static_cast<std::uint32_t>(pairs_[i].rank);  // no merge: the largest
      if (rank < best_rank) best = i, best_rank = rank;
    }
    if (best_rank == kNone) break;
    word[best] = pairs_[best].result;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) pairs_[best - 1] = table.find(word[best - 1], word[best]);
    if (best < pairs_.size()) pairs_[best] = table.find(word[best], word[best + 1]);
  }
}

void WordMerger::merge_long(const MergeTable& table, std::vector<std::int32_t>& word) {
  constexpr std::int32_t kDead = -1;
  const std::size_t n = word.size();
  require(n < std::numeric_limits<std::uint32_t>::max(), "a word of {} bytes", n);
  next_.resize(n);
  previous_.resize(n);
  heap_.clear();
  const auto offer = [&](std::uint32_t at) {
    if (next_[at] >= n) return;
    ++lookups_;
    const auto rank = table.find(word[at], word[next_[at]]).rank;
    if (rank < 0) return;
    heap_.push_back(std::uint64_t{static_cast<std::uint32_t>(rank)} << 32 | at);
  };
  const auto push = [&](std::uint32_t at) {
    const std::size_t before = heap_.size();
    offer(at);
    if (heap_.size() > before) std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    next_[i] = i + 1;
    previous_[i] = i - 1;  // of the first: never read
    offer(i);
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const auto at = static_cast<std::uint32_t>(heap_.back());
    const auto rank = static_cast<std::int32_t>(heap_.back() >> 32);
    heap_.pop_back();
    const std::uint32_t right = next_[at];
    if (word[at] == kDead || right >= n) continue;
    ++lookups_;
    const auto merge = table.find(word[at], word[right]);
    if (merge.rank != rank) continue;  // the pair changed since it was offered
    word[at] = merge.result;
    word[right] = kDead;
    next_[at] = next_[right];
    if (next_[at] < n) previous_[next_[at]] = at;
    push(at);
    if (at > 0) push(previous_[at]);
  }
  std::erase(word, kDead);
}

}  // namespace bessemer::data

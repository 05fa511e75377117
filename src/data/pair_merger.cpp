#include "data/pair_merger.h"

#include <algorithm>

#include "base/error.h"

namespace bessemer::data {

void PairMerger::add_word(std::span<const std::int32_t> tokens, std::uint64_t count) {
  require_input(token_.size() + tokens.size() < kEnd,
                "the corpus has more than 4 GB of distinct words; train on a part of it");
  const auto first = static_cast<std::uint32_t>(token_.size());
  const auto last = static_cast<std::uint32_t>(first + tokens.size() - 1);
  for (std::uint32_t at = first; at <= last; ++at) {
    token_.push_back(tokens[at - first]);
    next_.push_back(at == last ? kEnd : at + 1);
    previous_.push_back(at == first ? kEnd : at - 1);
    word_.push_back(static_cast<std::uint32_t>(word_count_.size()));
  }
  word_count_.push_back(count);
}

void PairMerger::start() {
  for (std::uint32_t at = 0; at < token_.size(); ++at) {
    if (next_[at] == kEnd) continue;
    Places& places = pairs_[key_of(token_[at], token_[next_[at]])];
    places.count += static_cast<std::int64_t>(word_count_[word_[at]]);
    places.at.push_back(at);
  }
  for (const auto& [key, places] : pairs_) {
    queue_.push({static_cast<std::uint64_t>(places.count), key});
  }
}

PairMerger::Best PairMerger::pop() {
  while (!queue_.empty()) {
    const Candidate top = queue_.top();
    queue_.pop();
    const auto found = pairs_.find(top.key);
    if (found == pairs_.end() || found->second.count <= 0) continue;
    const auto count = static_cast<std::uint64_t>(found->second.count);
    if (count == top.count) {
      return {{static_cast<std::int32_t>(top.key >> 32), static_cast<std::int32_t>(top.key)},
              count};
    }
    if (count < top.count) queue_.push({count, top.key});  // a greater count was pushed itself
  }
  return {};
}

void PairMerger::drop(std::uint32_t left, std::uint32_t right) {
  const auto found = pairs_.find(key_of(token_[left], token_[right]));
  found->second.count -= static_cast<std::int64_t>(word_count_[word_[left]]);
}

void PairMerger::gain(std::uint32_t left, std::uint32_t right) {
  const std::uint64_t key = key_of(token_[left], token_[right]);
  Places& places = pairs_[key];
  places.count += static_cast<std::int64_t>(word_count_[word_[left]]);
  places.at.push_back(left);
  gained_.push_back(key);
}

void PairMerger::merge(Pair pair, std::int32_t result) {
  const auto found = pairs_.find(key_of(pair.first, pair.second));
  std::vector<std::uint32_t> at = std::move(found->second.at);
  found->second.at.clear();
  // Where both tokens are the same, places overlap and the leftmost goes first.
  if (pair.first == pair.second) std::sort(at.begin(), at.end());
  gained_.clear();
  for (const std::uint32_t left : at) {
    const std::uint32_t right = next_[left];
    if (token_[left] != pair.first || right == kEnd || token_[right] != pair.second) continue;
    const std::uint32_t before = previous_[left], after = next_[right];
    if (before != kEnd) drop(before, left);
    if (after != kEnd) drop(right, after);
    token_[left] = result;
    token_[right] = -1;
    next_[left] = after;
    if (after != kEnd) previous_[after] = left;
    if (before != kEnd) gain(before, left);
    if (after != kEnd) gain(left, after);
  }
  pairs_.erase(key_of(pair.first, pair.second));
  std::sort(gained_.begin(), gained_.end());
  gained_.erase(std::unique(gained_.begin(), gained_.end()), gained_.end());
  for (const std::uint64_t key : gained_) {
    const auto grown = pairs_.find(key);
    if (grown != pairs_.end() && grown->second.count > 0) {
      queue_.push({static_cast<std::uint64_t>(grown->second.count), key});
    }
  }
}

}  // namespace bessemer::data

#include "plan/skyline_packer.h"

#include <algorithm>

#include "base/arena.h"

namespace bessemer::plan {
namespace {

std::size_t index(int i) { return static_cast<std::size_t>(i); }

std::vector<int> distinct_first_moments(std::span<const Block> blocks) {
  std::vector<int> moments;
  for (const Block& block : blocks) moments.push_back(block.first);
  std::sort(moments.begin(), moments.end());
  moments.erase(std::unique(moments.begin(), moments.end()), moments.end());
  return moments;
}

// The life within those moments: from its own first one to the last that is not after its end.
std::vector<Life> lives_of(std::span<const Block> blocks) {
  const std::vector<int> moments = distinct_first_moments(blocks);
  const auto moments_to = [&](int moment) {
    return static_cast<int>(std::upper_bound(moments.begin(), moments.end(), moment) -
                            moments.begin());
  };
  std::vector<Life> lives;
  for (const Block& block : blocks) {
    lives.push_back({moments_to(block.first) - 1, moments_to(block.last) - 1});
  }
  return lives;
}

std::vector<std::size_t> aligned_bytes(std::span<const Block> blocks) {
  std::vector<std::size_t> bytes;
  for (const Block& block : blocks) bytes.push_back(align_up(block.bytes));
  return bytes;
}

int instants_of(std::span<const Life> lives) {
  int instants = 0;
  for (const Life& life : lives) instants = std::max(instants, life.last + 1);
  return instants;
}

// Sums of what begins minus what has ended; unsigned arithmetic wraps back.
std::vector<std::size_t> live_bytes(std::span<const Life> lives,
                                    std::span<const std::size_t> bytes) {
  const std::size_t instants = index(instants_of(lives));
  std::vector<std::size_t> live(instants + 1, 0);
  for (std::size_t b = 0; b < lives.size(); ++b) {
    live[index(lives[b].first)] += bytes[b];
    live[index(lives[b].last) + 1] -= bytes[b];
  }
  for (std::size_t t = 1; t <= instants; ++t) live[t] += live[t - 1];
  live.pop_back();
  return live;
}

}  // namespace

SkylinePacker::SkylinePacker(std::span<const Block> blocks)
    : lives_(lives_of(blocks)),
      bytes_(aligned_bytes(blocks)),
      live_(live_bytes(lives_, bytes_)),
      rank_(blocks.size()),
      candidates_(lives_, static_cast<int>(live_.size())),
      skyline_(static_cast<int>(live_.size())) {}

std::size_t SkylinePacker::pack(std::span<const int> order, std::span<std::size_t> offsets) {
  for (std::size_t i = 0; i < order.size(); ++i) rank_[index(order[i])] = static_cast<int>(i);
  candidates_.fill(rank_);
  skyline_.flatten();
  std::size_t needed = 0;
  for (std::size_t placed = 0; placed < order.size();) {
    const Skyline::Stretch stretch = skyline_.lowest();
    const int block = candidates_.find(stretch.first, stretch.last);
    if (block < 0) {
      skyline_.raise(stretch);
      continue;
    }
    candidates_.remove(block);
    offsets[index(block)] = stretch.height;
    const std::size_t bytes = bytes_[index(block)];
    if (bytes > 0) {
      const Life& life = lives_[index(block)];
      skyline_.cover(stretch, life.first, life.last, bytes);
    }
    needed = std::max(needed, stretch.height + bytes);
    ++placed;
  }
  return needed;
}

}  // namespace bessemer::plan

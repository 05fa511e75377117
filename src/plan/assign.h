// Offsets for buffers with known lifetimes.
#pragma once

#include <cstddef>
#include <vector>

namespace bessemer::plan {

/// A block alive from instruction `first` to `last`, both included.
struct Block {
  std::size_t bytes = 0;
  int first = 0;
  int last = 0;
  std::size_t offset = 0;  // set by assign_offsets
};

/// Places the blocks so that no two that live at one time overlap; returns the bytes needed.
/// Largest first, each at the lowest gap that fits best (Pisarchyk and Lee, "Efficient memory
/// management for deep neural net inference", 2020). Offsets are multiples of Arena::kAlignment.
std::size_t assign_offsets(std::vector<Block>& blocks);

/// The largest sum of bytes alive at one instruction, and where.
struct LivePeak {
  std::size_t bytes = 0;
  int at = 0;
};
LivePeak live_peak(const std::vector<Block>& blocks, int instructions);

}  // namespace bessemer::plan

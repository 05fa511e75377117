// Offsets for buffers with known lifetimes: dynamic storage allocation, known ahead.
//
// The bytes alive at the fullest instruction are a lower bound. It is not always reached: some sets
// need more however they are placed, and finding the least is NP-hard; the smaller the blocks are
// beside the bound, the nearer the best is to it (Buchsbaum et al., "OPT versus LOAD in dynamic
// storage allocation", STOC 2003).
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
/// Packs on a skyline (skyline_packer.h) in several orders, takes the best and improves it by a
/// local search until it is within 0.5% of the lower bound or a fixed amount of work is done, so
/// that the same blocks get the same offsets always. Offsets are multiples of Arena::kAlignment.
std::size_t assign_offsets(std::vector<Block>& blocks);

/// The largest sum of bytes alive at one instruction, and where.
struct LivePeak {
  std::size_t bytes = 0;
  int at = 0;
};
LivePeak live_peak(const std::vector<Block>& blocks, int instructions);

}  // namespace bessemer::plan

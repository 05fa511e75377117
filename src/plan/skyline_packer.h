// Packs blocks with known lives into as little address space as an order of priority leads to.
//
// Time runs to the right, addresses upward. The lowest stretch of the skyline takes the first
// block, by the order, whose life fits into it; where none fits, the stretch is raised to the lower
// of its neighbours and what lies beneath is lost. This is best fit as of strip packing (Burke,
// Kendall and Whitwell, "A new placement heuristic for the orthogonal stock-cutting problem",
// Operations Research 52, 2004), for memory in Sekiyama et al., "Profile-guided memory optimization
// for deep neural networks", 2018.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "plan/assign.h"
#include "plan/candidate_tree.h"
#include "plan/skyline.h"

namespace bessemer::plan {

/// For packing one set of blocks in many orders. Lives are told in instants, the distinct first
/// moments of the blocks: two lives meet if and only if they meet at one of those.
class SkylinePacker {
 public:
  /// Blocks of zero bytes are allowed and lie at offset 0.
  explicit SkylinePacker(std::span<const Block> blocks);

  /// Packs; order[i] is a block, the first one first, and each stands there once. Sets offsets[b]
  /// of each block b and returns the bytes needed. Allocates nothing.
  std::size_t pack(std::span<const int> order, std::span<std::size_t> offsets);

  /// The work of all packings so far, in steps of some nanoseconds; the same on every machine.
  std::size_t work() const { return candidates_.visited(); }

  std::span<const Life> lives() const { return lives_; }
  std::span<const std::size_t> bytes() const { return bytes_; }  // of the blocks, aligned
  std::span<const std::size_t> live() const { return live_; }    // bytes alive, by instant

 private:
  std::vector<Life> lives_;
  std::vector<std::size_t> bytes_;
  std::vector<std::size_t> live_;
  std::vector<int> rank_;
  CandidateTree candidates_;
  Skyline skyline_;
};

}  // namespace bessemer::plan

// Large matrix products are made in blocks, so that a matrix of weights that does not fit beside
// everything else can be there in tiles (memory-centric tiling: ZeRO-Infinity, Rajbhandari et al.,
// 2021). A block is some rows of the matrix, as stored; a tile is some blocks. What is done with a
// block, and in which order sums over blocks are made, does not depend on tiles: the bits of a
// product in tiles are those of the whole.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bessemer::kernels {

/// Elements of a matrix above which its products are made in blocks; and of a block, but for the
/// rows that it has at least.
inline constexpr std::int64_t kLargeMatrix = std::int64_t{4} << 20;
inline constexpr std::int64_t kProductBlock = std::int64_t{1} << 20;

/// Rows of a block of a matrix with so many columns: where a large one may be cut.
constexpr std::int64_t product_block_rows(std::int64_t columns) {
  constexpr std::int64_t kPanel = 48;        // columns that the own product takes at a time
  constexpr std::int64_t kFewestPanels = 4;  // with fewer the other operand is packed too often
  const std::int64_t panels = kProductBlock / std::max<std::int64_t>(1, columns) / kPanel;
  return std::max(kFewestPanels, panels) * kPanel;
}

constexpr bool is_large_matrix(std::int64_t rows, std::int64_t columns) {
  return rows * columns > kLargeMatrix && rows > product_block_rows(columns);
}

}  // namespace bessemer::kernels

#include "plan/assign.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/arena.h"

namespace bessemer::plan {
namespace {

bool overlap_in_time(const Block& a, const Block& b) {
  return a.first <= b.last && b.first <= a.last;
}

// The smallest gap between placed neighbours that holds `block`, else the end of the last one.
std::size_t best_gap(const Block& block, const std::vector<const Block*>& placed_by_offset) {
  std::size_t cursor = 0;
  std::size_t best = std::numeric_limits<std::size_t>::max();
  std::size_t best_size = std::numeric_limits<std::size_t>::max();
  for (const Block* other : placed_by_offset) {
    if (!overlap_in_time(block, *other)) continue;
    if (other->offset > cursor) {
      const std::size_t gap = other->offset - cursor;
      if (gap >= block.bytes && gap < best_size) {
        best = cursor;
        best_size = gap;
      }
    }
    cursor = std::max(cursor, align_up(other->offset + other->bytes));
  }
  return best_size == std::numeric_limits<std::size_t>::max() ? cursor : best;
}

}  // namespace

std::size_t assign_offsets(std::vector<Block>& blocks) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<const Block*> placed;
  std::size_t needed = 0;
  for (const std::size_t i : order) {
    Block& block = blocks[i];
    block.offset = best_gap(block, placed);
    const auto at =
        std::upper_bound(placed.begin(), placed.end(), block.offset,
                         [](std::size_t offset, const Block* b) { return offset < b->offset; });
    placed.insert(at, &block);
    needed = std::max(needed, align_up(block.offset + block.bytes));
  }
  return needed;
}

LivePeak live_peak(const std::vector<Block>& blocks, int instructions) {
  std::vector<std::ptrdiff_t> change(static_cast<std::size_t>(instructions) + 2, 0);
  for (const Block& block : blocks) {
    const auto bytes = static_cast<std::ptrdiff_t>(align_up(block.bytes));
    change[static_cast<std::size_t>(block.first)] += bytes;
    change[static_cast<std::size_t>(block.last) + 1] -= bytes;
  }
  LivePeak peak;
  std::ptrdiff_t live = 0;
  for (std::size_t i = 0; i < change.size(); ++i) {
    live += change[i];
    if (static_cast<std::size_t>(live) > peak.bytes) {
      peak = {static_cast<std::size_t>(live), static_cast<int>(i)};
    }
  }
  return peak;
}

}  // namespace bessemer::plan

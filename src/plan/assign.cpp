#include "plan/assign.h"

#include "base/arena.h"
#include "plan/order_search.h"
#include "plan/skyline_packer.h"

namespace bessemer::plan {

std::size_t assign_offsets(std::vector<Block>& blocks) {
  SkylinePacker packer(blocks);
  const Packing packing = search_orders(packer);
  for (std::size_t b = 0; b < blocks.size(); ++b) blocks[b].offset = packing.offsets[b];
  return packing.bytes;
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

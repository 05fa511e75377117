// Looks for the order in which a skyline packing needs least.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/skyline_packer.h"

namespace bessemer::plan {

struct Packing {
  std::size_t bytes = 0;
  std::vector<std::size_t> offsets;  // by block
};

/// Tries the constructed orders (orders.h), then, while the best is not next to the lower bound:
///
///   squeaky wheel   all blocks that stick out above the bound gain priority, again and again
///                   (Joslin and Clements, "Squeaky wheel optimization", JAIR 10, 1999);
///   late acceptance one such block moves towards the front, and the new order is kept where it
///                   is no worse than the one some rounds ago (Burke and Bykov, "The late
///                   acceptance hill-climbing heuristic", European Journal of Operational Research
///                   258, 2017).
///
/// Each has a fixed amount of work to spend, whatever the clock says, and random numbers are
/// counter-based: the same blocks are packed alike always.
Packing search_orders(SkylinePacker& packer);

}  // namespace bessemer::plan

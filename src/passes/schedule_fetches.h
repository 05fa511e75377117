// The second half of offload: fetches stand directly before their first use and are moved up, so
// far that their link can be done in time, in the order in which they are needed.
#pragma once

#include <cstddef>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// `ahead` bounds the bytes that are fetched and not yet used.
ir::Graph schedule_fetches(ir::Graph graph, std::size_t ahead,
                           const cost::MachineDescription& machine);

}  // namespace bessemer::passes

// The second half of offload: fetches stand directly before their first use and are moved up, so
// far that their link can be done in time, in the order in which they are needed.
#pragma once

#include <cstddef>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// Predicted seconds of a node on its stream.
double node_seconds(const ir::Graph& graph, const ir::Node& node,
                    const cost::MachineDescription& machine);

/// `ahead` bounds the bytes that are fetched and not yet used.
ir::Graph schedule_fetches(ir::Graph graph, std::size_t ahead,
                           const cost::MachineDescription& machine);

}  // namespace bessemer::passes

// Recomputation judged by the plan: the frontier of passes/recompute_frontier.h, with what the
// arena really needs for transients as its peak.
#pragma once

#include <cstddef>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"
#include "passes/recompute_frontier.h"

namespace bessemer::plan {

/// Choices of what to keep in an ordered training graph, with Program::transient_bytes as peak.
std::vector<passes::RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                                       const cost::MachineDescription& machine);

/// The graph with the least recomputation with which its transients fit `budget` bytes; where none
/// does, the one that needs least.
ir::Graph recompute_to_fit(ir::Graph ordered, std::size_t budget,
                           const cost::MachineDescription& machine);

}  // namespace bessemer::plan

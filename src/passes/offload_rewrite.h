// The first half of offload: the graph with its tensors in their tiers and the movement between
// them as nodes, each fetch directly before its first use.
#pragma once

#include "passes/offload.h"

namespace bessemer::passes {

ir::Graph rewrite_for_tiers(const ir::Graph& graph, const TierMap& tiers,
                            const OffloadOptions& options, const cost::MachineDescription& machine);

}  // namespace bessemer::passes

// What the nodes of a graph are expected to take, each on its stream.
#pragma once

#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::cost {

/// Seconds of one node: a transfer between tiers, or work; 0 for a view.
double node_seconds(const ir::Graph& graph, const ir::Node& node,
                    const MachineDescription& machine);

/// The same of every node, in order.
std::vector<double> node_seconds(const ir::Graph& graph, const MachineDescription& machine);

}  // namespace bessemer::cost

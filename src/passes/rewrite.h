// Small tools that rewriting passes share.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace bessemer::passes {

/// Makes every use of `from`, outputs included, a use of `to`.
void replace_uses(ir::Graph& graph, ir::ValueId from, ir::ValueId to);

/// How many times each value is used, as an operand or as an output.
std::vector<int> use_counts(const ir::Graph& graph);

/// Sorts the nodes so that every operand comes before its use,
/// keeping the given order where it is free. Error where there is a cycle.
ir::Graph in_dependency_order(ir::Graph graph);

/// Whether the node adds up the rows of its one operand: a reduce_sum of all dimensions but the
/// last.
bool sums_rows(const ir::Graph& graph, const ir::Node& node);

/// For each value, whether it is a persistent input that lies on the device.
std::vector<bool> persistent_on_device(const ir::Graph& graph);

/// Nodes by number, in order, and the one that does what they do.
struct JoinedNodes {
  std::vector<std::size_t> nodes;
  ir::Node as;
};

/// Puts each joined node in the place of the last of those that it stands for. Nothing may read
/// what the others make.
ir::Graph join_nodes(ir::Graph graph, std::vector<JoinedNodes> all);

}  // namespace bessemer::passes

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

}  // namespace bessemer::passes

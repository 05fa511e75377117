// How a gradient comes to be: the nodes that make it, each adding to what the one before it made.
#pragma once

#include <functional>
#include <unordered_map>

#include "ir/graph.h"

namespace bessemer::passes {

/// By value that a node of a chain makes: the gradient's input, which the last of them replaces.
using GradientChains = std::unordered_map<ir::ValueId, ir::ValueId>;

/// Which result of a node is made by adding rows of it to an operand, one by one or in any parts;
/// and that operand. -1: none, and absent.
struct Sum {
  int result = -1;
  int addend = -1;
};
Sum sum_of(const ir::Node& node);

/// The chains of the gradients that `wanted` asks for, as far as they can be made in parts: every
/// node is such a sum, used by nothing but the next; and the first starts from nothing or from the
/// gradient so far.
GradientChains gradient_chains(const ir::Graph& graph,
                               const std::function<bool(const ir::Input& gradient)>& wanted);

}  // namespace bessemer::passes

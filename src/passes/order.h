// order: the order of execution, chosen to keep few bytes alive. Must see the final nodes; only
// recompute comes after it, which repeats some of them at places of its own choice.
//
// List scheduling: of the nodes that are ready, first those that free at least as many bytes as
// they allocate, else the one that stands first in the given order. What a write stores costs
// nothing, since it has a home of its own; so the gradient of a weight is made, and its operands
// die, as soon as it can be.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

ir::Graph order(ir::Graph graph);

}  // namespace bessemer::passes

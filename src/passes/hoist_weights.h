// hoist_weights: what depends on parameters alone (bf16 copies, packed layouts) is computed once
// per step, not once per use or per micro-batch.
//
// Must run after set_precision, which makes such nodes, and before fuse, so that no fused group
// crosses the border. Moves the nodes out of the graph into a second one, `refresh`, which writes
// persistent inputs of role `weight`; the graph then reads those.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

struct Hoisted {
  ir::Graph graph;    // with `weight` inputs in place of the moved nodes
  ir::Graph refresh;  // parameter inputs -> writes of the `weight` inputs
};

/// Weight names derive from the parameter and the node, so that graphs hoisted separately
/// (training, evaluation) share one copy: "weight.PARAMETER.bf16".
Hoisted hoist_weights(ir::Graph graph);

/// One refresh graph that does all that `a` and `b` do, each weight once.
ir::Graph merge_refresh(ir::Graph a, const ir::Graph& b);

}  // namespace bessemer::passes

// recompute: values that backward would take from forward are made again instead of being kept
// (Griewank and Walther, "Algorithm 799: revolve", 2000; Chen et al., "Training deep nets with
// sublinear memory cost", 2016).
//
// A value that is not kept is made again by a clone of its node, with the same attributes, just
// before the first node of backward that asks for it; what the clone needs and is not kept either
// is cloned before it. A clone runs once: its results live to their last use in backward.
//
// Numbers do not change: a clone computes what its node computed, dropout included, since random
// numbers are functions of a counter. For that it must repeat the very nodes that run, so this pass
// runs after all fusion. It runs after `order` too: where a clone stands is the whole point, and
// scheduling by bytes would take most clones into forward, where their operands are ready.
#pragma once

#include "ir/graph.h"
#include "passes/stash.h"

namespace bessemer::passes {

/// Which values stay. A policy never keeps what backward does not ask for.
enum class RecomputePolicy {
  none,       // all of them
  full,       // the inputs of layers: values that cross between nodes of different layers, as their
              // labels ("layers.N.") tell
  selective,  // the waists between blocks and the results of expensive nodes: matrix products and
              // attention, by the work they state. What is cheap is recomputed: norms, activations,
              // element-wise ops, casts. Korthikanti et al., "Reducing activation recomputation in
              // large transformer models", 2022, recompute the inside of attention; here that is
              // one kernel which never keeps the scores, so the cheap rest is what remains. Values
              // in 8 bits stay too (compress_stash.h).
};

Kept kept_by(RecomputePolicy policy, const ir::Graph& ordered);

/// The graph with clones for what is not kept. `kept` has an entry for each value.
ir::Graph recompute(ir::Graph ordered, const Kept& kept);
ir::Graph recompute(ir::Graph ordered, RecomputePolicy policy);

}  // namespace bessemer::passes

// collect_amax: what tensors reach in a step, for delayed scaling (set_fp8.h).
//
// Before: the graph of a micro-batch in its order of execution, with "fp8.amax" as an input.
// After: quantizing a tensor measures it too, and a persistent "step.amax" fp32[tensors] holds the
// largest magnitude of each, of this micro-batch and, where its gradients are added to others, of
// those before it.
//
// Must run after every choice of `recompute`, so that none depends on it: of a tensor that is
// quantized again for backward only the first time counts. Clones have its bits anyway.
#pragma once

#include "ir/graph.h"
#include "passes/differentiate.h"

namespace bessemer::passes {

inline constexpr const char* kStepAmax = "step.amax";

ir::Graph collect_amax(ir::Graph graph, GradientMode mode);

}  // namespace bessemer::passes

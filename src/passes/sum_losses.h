// sum_losses: the loss of a step is added up where its gradients are.
//
// Before: a differentiated graph with a result "loss", in its order of execution.
// After: a persistent "step.loss" fp64[] that this micro-batch's loss is added to, or replaces, as
// its gradients do theirs. Nobody has to read a loss between the micro-batches of a step, so a
// device can run ahead of its host; the sum has the bits of one made on the host in double.
#pragma once

#include "ir/graph.h"
#include "passes/differentiate.h"

namespace bessemer::passes {

inline constexpr const char* kStepLoss = "step.loss";

ir::Graph sum_losses(ir::Graph graph, GradientMode mode);

/// The mean of a step's losses.
struct MeanLoss {
  ir::ValueId exact;    // fp64
  ir::ValueId rounded;  // in the dtype asked for
};

/// Appends it to a graph that runs after the micro-batches, with a data input "loss_scale" fp64[]:
/// one over the number of valid targets in the global batch.
MeanLoss add_mean_loss(ir::Graph& graph, DType dtype);

}  // namespace bessemer::passes

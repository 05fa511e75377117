// add_optimizer: the graph of the update, which runs once per step.
//
// Before: a differentiated graph, for its list of parameters and gradients.
// After: a graph of its own that reads parameters, gradients and optimiser state and writes
// parameters and state: global norm over all gradients, clipping (Pascanu et al., 2013), AdamW
// (Loshchilov and Hutter, 2019). Where the norm or the loss is not finite nothing is changed, the
// step count included: the step is skipped.
//
//   data      "learning_rate" fp32[], "loss_scale" fp64[]
//   gradient  "gradient.P" of each parameter P, "step.loss" fp64[] (passes/sum_losses.h)
//   optimizer "optimizer.step" int64[], "optimizer.m.P" and "optimizer.v.P" of each parameter P
//
// Where layers are scaled by what they reached before (set_fp8.h), that is updated too, from the 16
// last steps: "step.amax" (collect_amax.h), optimizer "fp8.amax_history" fp32[16,tensors] and
// "fp8.amax". An infinity in "step.amax", which saturation would hide, makes the step be skipped.
//
//   results   "loss" fp64[] (of the global batch), "gradient_norm" fp32[], "coefficient" fp32[]
//   (NaN:
//             the step was skipped)
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

struct OptimizerOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;   // of parameters of rank 2 and more; vectors have none
  double gradient_clip = 1.0;  // largest global norm; 0 = no clipping
  std::int64_t seed = 0;       // of the random bits that round parameters in bf16
};

ir::Graph add_optimizer(const ir::Graph& differentiated, const OptimizerOptions& options);

}  // namespace bessemer::passes

// differentiate: appends the backward pass by reverse-mode differentiation.
//
// Before: a forward graph with a scalar result "loss" (a sum over targets). Must run before
// set_precision and fuse: gradients are written for the plain ops, in one precision.
// After: a data input "loss_scale" (the gradient of the loss; the trainer hands over one over the
// number of valid targets in the global batch), and for each parameter P a persistent input
// "gradient.P" and a write to it. Nodes nothing needs are gone.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

enum class GradientMode {
  overwrite,   // the first micro-batch of a step: gradients replace what was there
  accumulate,  // the others: gradients add to what is there
};

ir::Graph differentiate(ir::Graph graph, GradientMode mode);

/// "gradient." + parameter.
std::string gradient_name(std::string_view parameter);

}  // namespace bessemer::passes

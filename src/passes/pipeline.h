// The ordered lists of passes, from a model's forward graph to the graphs of a step.
#pragma once

#include <optional>

#include "passes/add_optimizer.h"
#include "passes/compress_stash.h"
#include "passes/pass.h"
#include "passes/recompute.h"
#include "passes/set_precision.h"

namespace bessemer::passes {

struct StepOptions {
  Precision precision = Recipe::bf16;
  OptimizerOptions optimizer;
  bool accumulates = false;                           // more than one micro-batch a step
  StashFormat stash = StashFormat::same;              // of the accumulate graphs
  RecomputePolicy recompute = RecomputePolicy::none;  // of the accumulate graphs
  kernels::Backend device = kernels::Backend::cpu;    // does the arithmetic
};

/// What one step is made of. All share the persistent tensors by name.
struct StepGraphs {
  ir::Graph refresh;                    // parameters -> weights; after each update
  ir::Graph accumulate_first;           // first micro-batch: overwrites gradients
  std::optional<ir::Graph> accumulate;  // the others: add to gradients
  ir::Graph update;                     // once per step
  std::optional<ir::Graph> evaluate;    // forward only
};

/// `training` and `evaluation` are forward graphs with a result "loss" over the same parameters
/// (the second without dropout, or absent).
StepGraphs compile_step(const ir::Graph& training, const std::optional<ir::Graph>& evaluation,
                        const StepOptions& options, Runner& runner);

/// A forward graph alone, for generation and scoring: its own refresh graph included.
struct ForwardGraphs {
  ir::Graph refresh;
  ir::Graph forward;
};
ForwardGraphs compile_forward(const ir::Graph& forward, Precision precision, Runner& runner);

/// Every pass by name, in the order they run.
std::vector<std::string> pass_names();

}  // namespace bessemer::passes

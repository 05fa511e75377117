// The graphs of a training step as they are planned, for each way to update.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cost/machine.h"
#include "passes/pass.h"
#include "passes/pipeline.h"
#include "passes/update_mode.h"

namespace bessemer::passes {

/// Which programs a step has, in which order they run, and what follows:
///
///   synchronous  accumulate_first, accumulate..., update, refresh_rest; where the norm is taken
///                early: accumulate_first, accumulate..., accumulate_last, update, refresh_rest
///   delayed      accumulate_first, accumulate..., accumulate_last, update, exchange
///   speculative  accumulate_first, accumulate..., accumulate_last, check, and exchange, or update
///                and refresh_rest
///
/// With accumulate_last, it alone is the step of one micro-batch. `refresh`, where there is one,
/// runs once at the start; the update writes the weights that it can (write_weights.h),
/// refresh_rest makes the others, if there are any.
struct StepPrograms {
  std::vector<ir::Graph> graphs;
  /// Persistent tensors that change places at the end of a step: plan::PlanOptions::exchanges.
  std::vector<std::pair<std::string, std::string>> exchanges;
};

struct StepProgramOptions {
  UpdateMode mode = UpdateMode::synchronous;
  std::int64_t micro_batches = 1;
  bool early_norm = false;  // of a synchronous step: passes/early_norm.h
};

/// `step` as compile_step makes it, recomputation included.
StepPrograms step_programs(const StepGraphs& step, const StepProgramOptions& options,
                           const cost::MachineDescription& machine, Runner& runner);

}  // namespace bessemer::passes

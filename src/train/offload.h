// [memory] host, file and offload: from the run file to tiers.
#pragma once

#include <vector>

#include "config/run_config.h"
#include "cost/machine.h"
#include "passes/offload.h"
#include "passes/pass.h"
#include "plan/plan.h"
#include "runtime/executor.h"

namespace bessemer::train {

passes::OffloadOptions offload_options(const config::MemoryConfig& memory);

/// The plan of a run's graphs with their tensors in the tiers that `memory` asks for. The graphs
/// stay as they are.
plan::Plan plan_in_tiers(const std::vector<const ir::Graph*>& graphs,
                         const config::MemoryConfig& memory,
                         const cost::MachineDescription& machine, passes::Runner& runner,
                         const plan::PlanOptions& planning = {});

runtime::ExecutorOptions executor_options(const config::MemoryConfig& memory);

/// The machine with the rates of the directory of the file tier, where the run has one: from the
/// cache or, with `measure`, measured now and cached.
enum class FileRates { cached, measured };
cost::MachineDescription with_file_rates(cost::MachineDescription machine,
                                         const config::MemoryConfig& memory, FileRates rates);

}  // namespace bessemer::train

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

/// How much of what moves may be on the device at a time. Whole: a tensor is there as a whole, and
/// others are on their way. Tiled: no more than an eighth of the device's bytes each way, a larger
/// matrix in tiles; it takes less of the device, and more time.
enum class Pieces { whole, tiled };

/// The plan of a run's graphs with their tensors in the tiers that `memory` asks for. The graphs
/// stay as they are.
plan::Plan plan_in_tiers(const std::vector<const ir::Graph*>& graphs,
                         const config::MemoryConfig& memory, Pieces pieces,
                         const cost::MachineDescription& machine, passes::Runner& runner);

runtime::ExecutorOptions executor_options(const config::MemoryConfig& memory);

/// The machine with the rates of the directory of the file tier, where the run has one: from the
/// cache or, with `measure`, measured now and cached.
enum class FileRates { cached, measured };
cost::MachineDescription with_file_rates(cost::MachineDescription machine,
                                         const config::MemoryConfig& memory, FileRates rates);

}  // namespace bessemer::train

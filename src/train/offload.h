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

/// How much of what moves is on the device at a time. kWhole: a tensor is there as a whole, and
/// others are on their way. Else no more than so many bytes each way, a larger matrix in tiles: it
/// takes less of the device, and more time.
inline constexpr std::size_t kWhole = 0;

/// The size of pieces for a device budget too small for whole tensors.
std::size_t piece_bytes(const config::MemoryConfig& memory);

passes::OffloadOptions offload_options(const config::MemoryConfig& memory, std::size_t piece,
                                       const cost::MachineDescription& machine);

/// What is done to each of a run's graphs once all of them are known: tensors move, if anything
/// `moves`, and updates are joined where the device wants it.
std::vector<passes::Pass> last_passes(const std::vector<const ir::Graph*>& graphs,
                                      const passes::OffloadOptions& options, bool moves,
                                      const cost::MachineDescription& machine);

/// `planning` with as much waiting to be stored as may be fetched ahead.
plan::PlanOptions planning_moves(plan::PlanOptions planning, const passes::OffloadOptions& options);

/// The plan of a run's graphs with their tensors in the tiers that `memory` asks for. The graphs
/// stay as they are.
plan::Plan plan_in_tiers(const std::vector<const ir::Graph*>& graphs,
                         const config::MemoryConfig& memory, std::size_t piece,
                         const cost::MachineDescription& machine, passes::Runner& runner,
                         plan::PlanOptions planning = {});

/// Whether a matrix that is too large for the device can be there in tiles: not on a CUDA device.
bool can_tile(const cost::MachineDescription& machine);

/// InputError where `memory` asks for a tier that the machine's device does not reach.
void check_tiers(const config::MemoryConfig& memory, const cost::MachineDescription& machine);

/// What the executor of a run needs: the directory of the file tier, the CUDA device.
runtime::ExecutorOptions executor_options(const config::RunConfig& config);

/// The machine with the rates of the directory of the file tier, where the run has one: from the
/// cache or, with `measure`, measured now and cached.
enum class FileRates { cached, measured };
cost::MachineDescription with_file_rates(cost::MachineDescription machine,
                                         const config::MemoryConfig& memory, FileRates rates);

}  // namespace bessemer::train

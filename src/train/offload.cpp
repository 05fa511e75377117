#include "train/offload.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "passes/join_adds.h"
#include "passes/join_updates.h"
#include "plan/report.h"
#include "runtime/file_rates.h"
#include "train/machine.h"
#include "train/compile.h"

namespace bessemer::train {
namespace {

// Of which a single tensor, what is fetched ahead and what is still being stored may take one each.
constexpr std::size_t kPartsOfDevice = 8;
// Of a device whose link takes a tenth of the time: so a tile takes as long as on the processor.
constexpr std::size_t kTileOfOwnDevice = std::size_t{32} << 20;
// A matrix of a 7B model's gradients takes 172 MiB: one is used, one arrives, one waits. Of a small
// device no more than a part.
constexpr std::size_t kInFlightOfOwnDevice = std::size_t{512} << 20;
constexpr std::size_t kPartsInFlight = 32;
constexpr std::size_t kSmallestPart = std::size_t{1} << 20;  // with less, moving is all overhead

ir::Tier tier_of(config::OffloadTier to, const config::MemoryConfig& memory) {
  switch (to) {
    case config::OffloadTier::host: return ir::Tier::host;
    case config::OffloadTier::file: return ir::Tier::file;
    case config::OffloadTier::automatic: break;
  }
  return memory.file && !memory.host ? ir::Tier::file : ir::Tier::host;
}

ir::Tier& tier_for(config::TensorClass what, passes::OffloadOptions& options) {
  switch (what) {
    case config::TensorClass::optimizer: return options.optimizer;
    case config::TensorClass::gradients: return options.gradients;
    case config::TensorClass::parameters: return options.parameters;
    case config::TensorClass::activations: break;
  }
  return options.activations;
}

// Bytes on the device that wait for their use or their transport, beside those being used.
std::size_t in_flight(const config::MemoryConfig& memory, std::size_t fallback,
                      const cost::MachineDescription& machine) {
  if (machine.device_memory == 0) return fallback;
  const std::size_t device = device_budget(budgets_of(memory, machine));
  return std::clamp(device / kPartsInFlight, fallback, kInFlightOfOwnDevice);
}

}  // namespace

std::size_t piece_bytes(const config::MemoryConfig& memory) {
  return std::max(device_budget(memory) / kPartsOfDevice, kSmallestPart);
}

passes::OffloadOptions offload_options(const config::MemoryConfig& memory, std::size_t piece,
                                       const cost::MachineDescription& machine) {
  passes::OffloadOptions options;
  if (machine.device_memory > 0) options.tile = kTileOfOwnDevice;
  options.fetched_ahead = in_flight(memory, options.fetched_ahead, machine);
  if (piece != kWhole) {
    options.largest_fetch = piece;
    options.fetched_ahead = std::min(options.fetched_ahead, piece);
    options.tile = std::min(options.tile, piece);
  }
  if (!memory.offload) return options;
  for (const config::OffloadItem& item : *memory.offload) {
    tier_for(item.what, options) = tier_of(item.to, memory);
  }
  return options;
}

plan::PlanOptions planning_moves(plan::PlanOptions planning,
                                 const passes::OffloadOptions& options) {
  planning.stored_behind = options.fetched_ahead;
  return planning;
}

std::vector<passes::Pass> last_passes(const std::vector<const ir::Graph*>& graphs,
                                      const passes::OffloadOptions& options, bool moves,
                                      const cost::MachineDescription& machine) {
  std::vector<passes::Pass> all;
  if (moves) {
    all.push_back({"offload", [=, tiers = passes::choose_tiers(graphs, options)](ir::Graph graph) {
                     return passes::offload(std::move(graph), tiers, options, machine);
                   }});
  }
  if (machine.cpu.device == kernels::Backend::cuda) {
    all.push_back({"join_adds", passes::join_adds});
    all.push_back({"join_updates", passes::join_updates});
  }
  return all;
}

plan::Plan plan_in_tiers(const std::vector<const ir::Graph*>& graphs,
                         const config::MemoryConfig& memory, std::size_t piece,
                         const cost::MachineDescription& machine, passes::Runner& runner,
                         plan::PlanOptions planning) {
  const passes::OffloadOptions options = offload_options(memory, piece, machine);
  const bool moves = memory.offload && !memory.offload->empty();
  const std::vector<passes::Pass> passes = last_passes(graphs, options, moves, machine);
  if (passes.empty()) return plan::make_plan(graphs, machine, planning);
  std::vector<ir::Graph> placed;
  for (const ir::Graph* graph : graphs) placed.push_back(runner.run(*graph, passes));
  std::vector<const ir::Graph*> all;
  for (const ir::Graph& graph : placed) all.push_back(&graph);
  return plan::make_plan(all, machine, planning_moves(std::move(planning), options));
}

bool can_tile(const cost::MachineDescription& machine) {
  return machine.cpu.device == kernels::Backend::cpu;
}

void check_tiers(const config::MemoryConfig& memory, const cost::MachineDescription& machine) {
  if (machine.cpu.device == kernels::Backend::cpu) return;
  require_input(!memory.file,
                "memory.file: a CUDA device does not reach files; leave it out, what is moved is "
                "kept on the host");
}

runtime::ExecutorOptions executor_options(const config::RunConfig& config) {
  runtime::ExecutorOptions options;
  if (config.memory.file) options.file_directory = config.memory.file->directory;
  options.cuda_device = open_device(config.run.device);
  return options;
}

cost::MachineDescription with_file_rates(cost::MachineDescription machine,
                                         const config::MemoryConfig& memory, FileRates rates) {
  if (!memory.file) return machine;
  const std::string directory = memory.file->directory.string();
  auto known = machine.directories.find(directory);
  if (known == machine.directories.end()) {
    if (rates == FileRates::cached) return machine;
    log::info("measuring how fast {} is read and written", directory);
    const auto [read, write] = runtime::measure_file_rates(directory);
    known = machine.directories.emplace(directory, cost::FileRates{read, write}).first;
    if (machine.measured) keep_calibration(machine);
  }
  machine.file_read_bandwidth = known->second.read;
  machine.file_write_bandwidth = known->second.write;
  return machine;
}

}  // namespace bessemer::train

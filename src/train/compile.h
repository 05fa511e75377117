// From a run's settings to its plan: models, passes and plan in a row. What `bessemer plan` prints
// is exactly what `bessemer train` runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/tensor_source.h"
#include "config/run_config.h"
#include "cost/machine.h"
#include "models/architecture.h"
#include "passes/pass.h"
#include "passes/set_precision.h"
#include "plan/plan.h"
#include "plan/report.h"

namespace bessemer::train {

/// Tokens taken by one run of the program "prefill"; "decode" takes one.
inline constexpr std::int64_t kPrefillTokens = 32;

/// Programs of a training run: "refresh" (absent where nothing is derived from parameters), those
/// of a step (passes/step_programs.h), "evaluate", and "prefill" and "decode" where the run draws
/// samples.
struct CompiledRun {
  models::Architecture architecture;
  std::int64_t micro_batch_size = 1;  // sequences
  std::int64_t micro_batches = 1;     // of a step
  std::int64_t sample_cache = 0;      // rows of the caches; 0: no samples
  plan::Plan plan;
};

/// With the micro-batch size and the movement that `config` says, and as little recomputation as
/// its policy allows within the budgets. Who chooses among such runs asks a MemoryPlanner.
CompiledRun compile_run(const config::RunConfig& config, const models::Architecture& architecture,
                        const cost::MachineDescription& machine, passes::Runner& runner);

passes::Recipe recipe_of(const config::PrecisionConfig& precision);
passes::Precision precision_of(const config::PrecisionConfig& precision);

/// What attention and the head compute in, and under fp32 and bf16 all products: with fp8, bf16.
DType compute_dtype(config::Recipe recipe);

/// Bytes of main memory: what the device and the host tier share on this backend.
std::size_t memory_of_this_machine();

/// Bytes that the device tier may take: memory.device, or what the machine has.
std::size_t device_budget(const config::MemoryConfig& memory);

/// `memory` with the budgets of a machine whose device has memory of its own: where the run file
/// gives none, the device's and this machine's main memory.
config::MemoryConfig budgets_of(config::MemoryConfig memory,
                                const cost::MachineDescription& machine);

/// Whether a plan that takes so many bytes by tier keeps the budgets: memory.device, memory.host,
/// memory.file. Without memory.host, device and host together must fit the machine.
bool fits(const config::MemoryConfig& memory, const std::array<std::size_t, ir::kTiers>& bytes);

/// Graphs that draw samples, and the refresh graph that they need.
struct GenerationGraphs {
  ir::Graph refresh{"refresh"};
  ir::Graph prefill, decode;
};
GenerationGraphs generation_graphs(const models::Architecture& architecture,
                                   passes::Precision precision, std::int64_t cache_length,
                                   passes::Runner& runner);

/// How the plan of a run is shown, by `bessemer plan` and in runs/NAME/plan.txt: its model, batch
/// and recipe in the heading, what lies outside the arena beside it (outside.h says what
/// `resident_now` is).
plan::ReportOptions report_options(const config::RunConfig& config, const CompiledRun& run,
                                   std::size_t resident_now);

/// Programs "refresh" (maybe), "prefill" and "decode": generation of one sequence.
plan::Plan compile_generation(const models::Architecture& architecture, passes::Precision precision,
                              std::int64_t cache_length, const cost::MachineDescription& machine,
                              passes::Runner& runner);

/// Programs "refresh" (maybe) and "evaluate".
plan::Plan compile_evaluation(const models::Architecture& architecture, passes::Precision precision,
                              std::int64_t sequences, std::int64_t sequence_length,
                              const cost::MachineDescription& machine, passes::Runner& runner);

/// What a checkpoint of the run holds: parameters, optimizer state and pending gradients.
std::vector<checkpoint::TensorSpec> specs_to_save(const plan::Plan& plan);

/// Whether a checkpoint is written from a copy in memory: where all of that lies on the device.
bool saves_from_copy(const plan::Plan& plan);

}  // namespace bessemer::train

// From a run's settings to its plan: models, passes and plan in a row. What `bessemer plan` prints
// is exactly what `bessemer train` runs.
#pragma once

#include <cstdint>
#include <filesystem>

#include "config/run_config.h"
#include "cost/machine.h"
#include "models/architecture.h"
#include "passes/pass.h"
#include "plan/plan.h"
#include "plan/report.h"

namespace bessemer::train {

/// Tokens taken by one run of the program "prefill"; "decode" takes one.
inline constexpr std::int64_t kPrefillTokens = 32;

/// Programs of a training run: "refresh" (absent where nothing is derived from parameters),
/// "accumulate_first", "accumulate" (only with several micro-batches), "update", "evaluate", and
/// "prefill" and "decode" where the run draws samples.
struct CompiledRun {
  models::Architecture architecture;
  std::int64_t micro_batches = 1;
  std::int64_t sample_cache = 0;  // rows of the caches; 0: no samples
  plan::Plan plan;
};

CompiledRun compile_run(const config::RunConfig& config, const models::Architecture& architecture,
                        const cost::MachineDescription& machine, passes::Runner& runner);

/// How the plan of a run is shown, by `bessemer plan` and in runs/NAME/plan.txt: its model, batch
/// and recipe in the heading, what lies outside the arena beside it (outside.h says what
/// `resident_now` is).
plan::ReportOptions report_options(const config::RunConfig& config, const CompiledRun& run,
                                   std::size_t resident_now);

/// Programs "refresh" (maybe), "prefill" and "decode": generation of one sequence.
plan::Plan compile_generation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t cache_length, const cost::MachineDescription& machine,
                              passes::Runner& runner);

/// Programs "refresh" (maybe) and "evaluate".
plan::Plan compile_evaluation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t sequences, std::int64_t sequence_length,
                              const cost::MachineDescription& machine, passes::Runner& runner);

/// This machine with its measured rates, from the cache; measured now, and cached, where it is not
/// there yet (a second or two, logged).
cost::MachineDescription measured_machine();

/// Measures anew and writes the cache.
cost::MachineDescription calibrate();
std::filesystem::path calibration_path();

}  // namespace bessemer::train

// What a run keeps in memory beside the arena of its plan.
#pragma once

#include <cstddef>
#include <vector>

#include "config/run_config.h"
#include "plan/report.h"
#include "train/compile.h"

namespace bessemer::train {

/// Everything outside the arena by name: computed from the run's settings, or measured in this
/// process. `resident_now` is what the process holds while nothing of the run is there yet but its
/// plan, tokenizer and index of documents (resident_without_slack()).
std::vector<plan::OutsideEntry> outside_arena(const config::RunConfig& config,
                                              const CompiledRun& run, std::size_t resident_now);

}  // namespace bessemer::train

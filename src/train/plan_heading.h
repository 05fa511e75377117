// What a run's plan is headed by: the same in `bessemer plan` and in runs/NAME/plan.txt.
#pragma once

#include "config/run_config.h"
#include "plan/report.h"
#include "train/compile.h"

namespace bessemer::train {

/// Model, batch and recipe in words, with the counts that plan::describe needs for a step.
plan::ReportOptions plan_heading(const config::RunConfig& config, const CompiledRun& run);

}  // namespace bessemer::train

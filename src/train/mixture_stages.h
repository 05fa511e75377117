// The weights of a run's sources by step: from the run file to the stages of a mixture.
#pragma once

#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "data/mixture_schedule.h"

namespace bessemer::train {

/// A step takes `sequences_per_step`; steps count from 1.
std::vector<data::MixtureStage> mixture_stages(const std::vector<config::DataSource>& sources,
                                               std::int64_t sequences_per_step);

}  // namespace bessemer::train

// Learning-rate schedules.
#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace bessemer::train {

/// The learning rate of step `step`, counted from 1, of `steps`. Warms up linearly over
/// warmup_steps (step 1 has 1/warmup of the peak), then stays at the peak until the last
/// decay_steps, in which it falls to min_learning_rate: linearly (linear, wsd) or along half a
/// cosine (cosine). `config` must have its derived members filled.
double learning_rate(const config::OptimizerConfig& config, std::int64_t step, std::int64_t steps);

}  // namespace bessemer::train

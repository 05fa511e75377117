#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace bessemer::train {

double learning_rate(const config::OptimizerConfig& config, std::int64_t step, std::int64_t steps) {
  require(config.warmup_steps && config.decay_steps && config.min_learning_rate,
          "the optimizer's derived settings are not filled in");
  const double peak = config.learning_rate, end = *config.min_learning_rate;
  if (step <= *config.warmup_steps) {
    return peak * static_cast<double>(step) / static_cast<double>(*config.warmup_steps);
  }
  const std::int64_t decay_begins = steps - *config.decay_steps;
  if (config.schedule == config::Schedule::constant || step <= decay_begins) return peak;
  const double done = std::min(
      1.0, static_cast<double>(step - decay_begins) / static_cast<double>(*config.decay_steps));
  if (config.schedule == config::Schedule::cosine) {
    return end + (peak - end) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  }
  return peak + (end - peak) * done;
}

}  // namespace bessemer::train

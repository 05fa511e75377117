#include "kernels/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "base/error.h"

namespace bessemer::kernels {
namespace {

double positive(const Attributes& attributes, std::string_view name,
                std::optional<double> fallback = {}) {
  require_input(attributes.find(name) != nullptr || fallback.has_value(),
                "rope: scaling '{}' needs the attribute '{}'", attributes.text("scaling", "none"),
                name);
  const double value = attributes.real(name, fallback);
  require_input(std::isfinite(value) && value > 0, "rope: {} is {}, expected a number above 0",
                name, value);
  return value;
}

std::vector<double> unscaled(std::int64_t head_size, double theta) {
  std::vector<double> inverse(static_cast<std::size_t>(head_size / 2));
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size));
  }
  return inverse;
}

void scale_llama3(std::vector<double>& inverse, const Attributes& attributes) {
  const double factor = positive(attributes, "factor");
  const double low = positive(attributes, "low_frequency_factor");
  const double high = positive(attributes, "high_frequency_factor");
  const double context = positive(attributes, "original_context");
  require_input(high > low, "rope: high_frequency_factor {} must exceed low_frequency_factor {}",
                high, low);
  for (double& frequency : inverse) {
    const double turns = context * frequency / (2 * std::numbers::pi);  // in the original context
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency = kept * frequency + (1 - kept) * frequency / factor;
  }
}

void scale_yarn(std::vector<double>& inverse, std::int64_t head_size, double theta,
                const Attributes& attributes) {
  const double factor = positive(attributes, "factor");
  const double context = positive(attributes, "original_context");
  const double beta_fast = positive(attributes, "beta_fast", 32.0);
  const double beta_slow = positive(attributes, "beta_slow", 1.0);
  require_input(theta > 1, "rope: theta is {}, expected more than 1 for scaling 'yarn'", theta);
  const auto dimension = static_cast<double>(head_size);
  // The (real) pair that turns `turns` times in the original context.
  const auto pair_of = [&](double turns) {
    return dimension * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const double low = std::max(std::floor(pair_of(beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_of(beta_slow)), dimension - 1);
  if (low == high) high += 0.001;  // as transformers keeps the ramp finite
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    inverse[i] = (1 - ramp) * inverse[i] + ramp * inverse[i] / factor;
  }
}

}  // namespace

RopeFrequencies rope_frequencies(std::int64_t head_size, const Attributes& attributes) {
  require_input(head_size > 0 && head_size % 2 == 0, "rope: head size {} is not even", head_size);
  const double theta = positive(attributes, "theta", 10000.0);
  const std::string scaling = attributes.text("scaling", "none");
  RopeFrequencies result{unscaled(head_size, theta), 1.0};
  if (scaling == "linear") {
    const double factor = positive(attributes, "factor");
    for (double& frequency : result.inverse) frequency /= factor;
  } else if (scaling == "llama3") {
    scale_llama3(result.inverse, attributes);
  } else if (scaling == "yarn") {
    scale_yarn(result.inverse, head_size, theta, attributes);
    const double factor = attributes.real("factor");
    const double derived = factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
    result.attention_factor = positive(attributes, "attention_factor", derived);
  } else {
    require_input(scaling == "none",
                  "rope: scaling '{}' is unknown; expected none, linear, llama3 or yarn", scaling);
  }
  return result;
}

}  // namespace bessemer::kernels

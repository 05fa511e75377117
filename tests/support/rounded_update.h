// Updates of bf16 parameters that are known exactly before they are rounded: without memory, decay
// and epsilon AdamW moves a parameter by the learning rate, against the sign of its gradient.
#pragma once

#include "support/kernel_runner.h"

namespace bessemer::testing {

inline Attributes rounded_update_attributes(std::int64_t seed = 11, std::int64_t site = 3,
                                            std::int64_t first = 0) {
  return {{"beta1", 0.0}, {"beta2", 0.0}, {"epsilon", 0.0}, {"weight_decay", 0.0},
          {"seed", seed}, {"site", site}, {"first", first}};
}

/// Gradients of 1 and -1 in turns of no period.
inline Tensor signs(const Shape& shape) {
  Tensor g = normal({DType::fp32, shape}, 5);
  for (std::int64_t i = 0; i < g.size(); ++i) g.set(i, g.get(i) < 0 ? -1 : 1);
  return g;
}

/// Of adamw_update.
inline Operands rounded_update(const Tensor& parameter, const Tensor& gradient,
                               double learning_rate, double step = 1, double coefficient = 1) {
  const TensorType state{DType::fp32, parameter.type().shape}, scalar{DType::fp32, {}};
  const Tensor zeros = of(state, std::vector<double>(static_cast<std::size_t>(state.elements())));
  return {parameter,
          gradient,
          zeros,
          zeros,
          of(scalar, {learning_rate}),
          of({DType::int64, {}}, {step}),
          of(scalar, {coefficient})};
}

inline std::vector<TensorType> rounded_update_results(const Shape& shape) {
  return {{DType::bf16, shape}, {DType::fp32, shape}, {DType::fp32, shape}};
}

/// bf16 numbers of magnitude 1 to 2: an exact learning rate is a multiple of 2^-23.
inline Tensor parameters_near_one(const Shape& shape) {
  Tensor p({DType::bf16, shape});
  const Tensor x = normal({DType::fp32, shape}, 6);
  for (std::int64_t i = 0; i < p.size(); ++i) {
    p.set(i, (x.get(i) < 0 ? -1.25 : 1.25) + std::fmod(x.get(i), 0.125));
  }
  return p;
}

}  // namespace bessemer::testing

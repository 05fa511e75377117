// Gradients by central differences in fp64, to hold against the *_grad kernels.
#pragma once

#include <vector>

#include "support/kernel_runner.h"

namespace bessemer::testing {

inline TensorType fp64(Shape shape) { return {DType::fp64, std::move(shape)}; }

/// A forward kernel with everything it is called with. All floating operands are fp64.
struct Forward {
  PrepareFn prepare;
  Operands operands;
  std::vector<TensorType> results;
  Attributes attributes = {};

  std::vector<Tensor> run() const {
    return run_kernel(prepare, operands, results, attributes).results;
  }

  /// sum of result 0 times `weights`, element by element.
  double objective(const Tensor& weights) const {
    const Tensor y = run()[0];
    double sum = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) sum += y.get(i) * weights.get(i);
    return sum;
  }
};

/// The gradient of `forward.objective(weights)` in operand `which`. Accurate to about 1e-9 for
/// functions of order one.
inline Tensor numeric_gradient(Forward forward, std::size_t which, const Tensor& weights) {
  constexpr double kStep = 1e-5;
  Tensor& x = *forward.operands[which];
  Tensor gradient(x.type());
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const double at = x.get(i);
    x.set(i, at + kStep);
    const double above = forward.objective(weights);
    x.set(i, at - kStep);
    const double below = forward.objective(weights);
    x.set(i, at);
    gradient.set(i, (above - below) / (2 * kStep));
  }
  return gradient;
}

/// How far a gradient may be from the numeric one, in relative_difference.
constexpr double kGradientTolerance = 1e-8;

}  // namespace bessemer::testing

// The activation functions and their derivatives, from their definitions.
#pragma once

#include <cmath>
#include <numbers>
#include <string>
#include <string_view>

#include "base/error.h"

namespace bessemer::kernels::reference {

/// x times the standard normal distribution function (Hendrycks and Gimpel, 2016).
inline double gelu_exact(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }

inline double gelu_exact_derivative(double x) {
  const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
  return 0.5 * (1 + std::erf(x / std::numbers::sqrt2)) + x * density;
}

/// The tanh form of the same paper, as GPT-2 uses it.
inline double gelu_tanh(double x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  return 0.5 * x * (1 + std::tanh(c * (x + 0.044715 * x * x * x)));
}

inline double gelu_tanh_derivative(double x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu_value(double x) { return x / (1 + std::exp(-x)); }
inline double silu_derivative(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

using ScalarFunction = double (*)(double);

/// By matmul's attribute `activation`: "none", "gelu_tanh", "gelu", "silu".
inline ScalarFunction activation_named(std::string_view name) {
  if (name == "none") return [](double x) { return x; };
  if (name == "gelu_tanh") return gelu_tanh;
  if (name == "gelu") return gelu_exact;
  if (name == "silu") return silu_value;
  fail("activation '{}' is unknown; expected none, gelu_tanh, gelu or silu", name);
}

/// Whether gelu's attribute `approximate` says "tanh" ("none": exact).
inline bool is_tanh_form(std::string_view approximate) {
  require(approximate == "tanh" || approximate == "none",
          "approximate is '{}', expected tanh or none", approximate);
  return approximate == "tanh";
}

}  // namespace bessemer::kernels::reference

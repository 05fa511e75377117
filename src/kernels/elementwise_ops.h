// The element-wise ops as programs (elementwise_program.h). A backend prepares programs in its own
// way; which they are is the same for all.
#pragma once

#include <string>

#include "base/attributes.h"

namespace bessemer::kernels::elementwise {

inline constexpr const char* kAdd = "t0 = add x0 x1; return t0";
inline constexpr const char* kMultiply = "t0 = multiply x0 x1; return t0";
inline constexpr const char* kCast = "return x0";
inline constexpr const char* kSilu = "t0 = silu x0; return t0";
inline constexpr const char* kSiluGrad = "t0 = silu_grad x0 x1; return t0";
inline constexpr const char* kSwiglu = "t0 = silu x0; t1 = multiply t0 x1; return t1";

/// By the ops' attributes.
std::string scale(const Attributes& attributes);
std::string gelu(const Attributes& attributes);
std::string gelu_grad(const Attributes& attributes);

}  // namespace bessemer::kernels::elementwise

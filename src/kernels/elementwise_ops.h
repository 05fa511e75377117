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
inline constexpr const char* kSwigluGrad =  // dy, gate, up -> those of gate and up
    "t0 = multiply x0 x2; t1 = silu_grad t0 x1; t2 = silu x1; t3 = multiply x0 t2; return t1 t3";
inline constexpr const char* kGelu = "t0 = gelu x0; return t0";
inline constexpr const char* kGeluTanh = "t0 = gelu_tanh x0; return t0";
inline constexpr const char* kGeluGrad = "t0 = gelu_grad x0 x1; return t0";
inline constexpr const char* kGeluTanhGrad = "t0 = gelu_tanh_grad x0 x1; return t0";

// Norms of rows whose statistics are known.
inline constexpr const char* kRmsNorm =  // x, rstd, gain
    "t0 = multiply x0 x1; t1 = multiply t0 x2; return t1";
inline constexpr const char* kLayerNorm =  // x, mean, rstd, gain, bias
    "t0 = subtract x0 x1; t1 = multiply t0 x2; t2 = multiply t1 x3; t3 = add t2 x4; return t3";

/// By the ops' attributes.
std::string scale(const Attributes& attributes);
std::string gelu(const Attributes& attributes);
std::string gelu_grad(const Attributes& attributes);

}  // namespace bessemer::kernels::elementwise

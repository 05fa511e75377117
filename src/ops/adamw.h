// What adamw_update and adamw_update_all share.
#pragma once

#include "base/dtype.h"

namespace bessemer::ops {

/// Whether a parameter of this dtype is rounded stochastically into itself.
inline bool is_rounded(DType parameter) { return parameter == DType::bf16; }

/// Arithmetic on an element; what is rounded draws random bits.
inline double adamw_flops(DType parameter) { return is_rounded(parameter) ? 30 : 15; }

}  // namespace bessemer::ops

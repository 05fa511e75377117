// Which matrix products may be cut into parts.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cpu {

/// True where `matmul` takes the request, and parts of the rows (of the sum, where a is transposed,
/// each part added to the one before) have the bits of the whole. For more than 8 rows.
bool matmul_is_divisible(const KernelRequest& request);

}  // namespace bessemer::kernels::cpu

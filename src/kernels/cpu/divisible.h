// Which matrix products may be cut into parts.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cpu {

/// True where `matmul` takes the request, and parts of the rows (of the sum, where a is transposed,
/// each part added to the one before) have the bits of the whole. For more than 8 rows.
bool matmul_is_divisible(const KernelRequest& request);

/// Rows that `linear_cross_entropy` or `linear_cross_entropy_train`, whichever has these operands,
/// takes at a time; and whether another number would have the same bits.
struct HeadChunk {
  std::int64_t rows = 0;
  bool divisible = false;
};
HeadChunk head_chunk(const KernelRequest& request);

}  // namespace bessemer::kernels::cpu

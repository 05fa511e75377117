// Which nodes may be cut into parts of rows without a change of bits, and which cut themselves.
#pragma once

#include <optional>

#include "ops/op.h"

namespace bessemer::ops {

/// Of a `matmul`: its rows, or with transpose_a the rows it sums over, each part added to the one
/// before. It depends on the kernel that this machine takes.
bool product_is_divisible(const OpUse& use, const TensorType& result,
                          const kernels::Machine& machine);

/// Rows that a `linear_cross_entropy` or `linear_cross_entropy_train` takes at a time, and whether
/// its products are such ones.
struct HeadChunk {
  std::int64_t rows = 0;
  bool divisible = false;
};
HeadChunk head_chunk(const OpUse& use, std::span<const TensorType> results,
                     const kernels::Machine& machine);

/// Rows of x that the kernels of the head on this machine's device take at a time whatever the
/// attribute `chunk` says; nothing where they do as it says.
std::optional<std::int64_t> own_head_chunk(const TensorType& x, const TensorType& w,
                                           const kernels::Machine& machine);

}  // namespace bessemer::ops

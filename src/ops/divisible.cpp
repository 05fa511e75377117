#include "ops/divisible.h"

#include "kernels/cpu/divisible.h"
#include "kernels/cuda/linear_cross_entropy.h"

namespace bessemer::ops {

bool product_is_divisible(const OpUse& use, const TensorType& result,
                          const kernels::Machine& machine) {
  if (machine.device != kernels::Backend::cpu) return false;  // algorithms depend on the rows
  return kernels::cpu::matmul_is_divisible({use.operands, {&result, 1}, use.attributes, machine});
}

HeadChunk head_chunk(const OpUse& use, std::span<const TensorType> results,
                     const kernels::Machine& machine) {
  const auto chunk = kernels::cpu::head_chunk({use.operands, results, use.attributes, machine});
  return {chunk.rows, chunk.divisible};
}

std::optional<std::int64_t> own_head_chunk(const TensorType& x, const TensorType& w,
                                           const kernels::Machine& machine) {
  if (machine.device != kernels::Backend::cuda) return std::nullopt;
  return kernels::cuda::head_chunk(x.dim(0), w.dim(0));
}

}  // namespace bessemer::ops

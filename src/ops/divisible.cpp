#include "ops/divisible.h"

#include "kernels/cpu/divisible.h"

namespace bessemer::ops {

bool product_is_divisible(const OpUse& use, const TensorType& result,
                          const kernels::Machine& machine) {
  return kernels::cpu::matmul_is_divisible({use.operands, {&result, 1}, use.attributes, machine});
}

HeadChunk head_chunk(const OpUse& use, std::span<const TensorType> results,
                     const kernels::Machine& machine) {
  const auto chunk = kernels::cpu::head_chunk({use.operands, results, use.attributes, machine});
  return {chunk.rows, chunk.divisible};
}

}  // namespace bessemer::ops

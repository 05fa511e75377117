#include "ops/divisible.h"

#include "kernels/cpu/divisible.h"

namespace bessemer::ops {

bool product_is_divisible(const OpUse& use, const TensorType& result,
                          const kernels::Machine& machine) {
  return kernels::cpu::matmul_is_divisible({use.operands, {&result, 1}, use.attributes, machine});
}

}  // namespace bessemer::ops

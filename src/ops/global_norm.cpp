// The root of the sum of squares of many tensors. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  require(!use.operands.empty(), "operand 0 (x0): is absent");
  const DType result = sum_dtype(use.operand(0).dtype);
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    const TensorType& x = use.operand(i);
    require(is_activation(x.dtype) && sum_dtype(x.dtype) == result,
            "operand {} (x{}): expected a dtype whose sums are {}, found {}", i, i, name_of(result),
            to_string(x));
  }
  return {{result, {}}};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  double elements = 0;
  for (const auto& x : use.operands) elements += static_cast<double>(x->elements());
  return memory_work(use, results, 2 * elements);
}

}  // namespace

OpDefinition global_norm_op() {
  return {.name = "global_norm",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // the root comes after the sum
          .candidates = {{"cpu.global_norm", kernels::cpu::global_norm},
                         {"cuda.global_norm", kernels::cuda::global_norm, kernels::Backend::cuda},
                         {"reference", kernels::reference::global_norm}},
          .runs_on_host = true};
}

}  // namespace bessemer::ops

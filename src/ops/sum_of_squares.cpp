// global_norm in two steps, for tensors that are not all there at one time. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/norm_block.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer_sums(const OpUse& use) {
  const Checker check(use, {"x"});
  const TensorType& x = check.floating_at_least(0, 0);
  return {{DType::fp64, {kernels::norm_blocks(x.elements())}}};
}

std::vector<TensorType> infer_norm(const OpUse& use) {
  require(!use.operands.empty(), "operand 0 (sums0): is absent");
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    const TensorType& sums = use.operand(i);
    require(sums.dtype == DType::fp64 && sums.rank() == 1,
            "operand {} (sums{}): expected fp64[blocks], found {}", i, i, to_string(sums));
  }
  return {{dtype_attribute(use.attributes, DType::fp32), {}}};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  double elements = 0;
  for (const auto& x : use.operands) elements += static_cast<double>(x->elements());
  return memory_work(use, results, 2 * elements);
}

}  // namespace

OpDefinition sum_of_squares_op() {
  return {
      .name = "sum_of_squares",
      .infer = infer_sums,
      .gradient = nullptr,
      .work = work,
      .sharding = nullptr,  // blocks are counted from the tensor's first element
      .candidates = {{"cpu.sum_of_squares", kernels::cpu::sum_of_squares},
                     {"cuda.sum_of_squares", kernels::cuda::sum_of_squares, kernels::Backend::cuda},
                     {"reference", kernels::reference::sum_of_squares}}};
}

OpDefinition norm_of_sums_op() {
  return {.name = "norm_of_sums",
          .infer = infer_norm,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.norm_of_sums", kernels::cpu::norm_of_sums},
                         {"cuda.norm_of_sums", kernels::cuda::norm_of_sums, kernels::Backend::cuda},
                         {"reference", kernels::reference::norm_of_sums}}};
}

}  // namespace bessemer::ops

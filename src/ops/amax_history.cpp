// What the tensors of the last steps reached, which delayed scaling follows. Semantics:
// docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"history", "collected", "coefficient"});
  const TensorType& history = check.type(0);
  const bool rows = history.dtype == DType::fp32 && history.rank() == 2 && history.dim(0) >= 1;
  check.require_that(rows, 0, "expected fp32 [steps, n], found {}", to_string(history));
  check.expect(1, {DType::fp32, {history.dim(1)}});
  check.expect(2, {DType::fp32, {}});
  return {history, check.type(1)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(use.operand(0).elements()));
}

}  // namespace

OpDefinition amax_history_op() {
  return {.name = "amax_history",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // small
          .candidates = {{"cpu.amax_history", kernels::cpu::amax_history},
                         {"cuda.amax_history", kernels::cuda::amax_history, kernels::Backend::cuda},
                         {"reference", kernels::reference::amax_history}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

// Counts the steps that were not skipped. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"step", "coefficient"});
  check.expect(0, {DType::int64, {}});
  check.expect(1, {sum_dtype(check.type(1).dtype), {}});
  return {check.type(0)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 1);
}

}  // namespace

OpDefinition count_step_op() {
  return {.name = "count_step",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.count_step", kernels::cpu::count_step},
                         {"cuda.count_step", kernels::cuda::count_step, kernels::Backend::cuda},
                         {"reference", kernels::reference::count_step}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

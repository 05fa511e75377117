// What gradients are multiplied by to keep their norm within bounds. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"norm", "loss", "amaxes?"});
  const TensorType scalar{sum_dtype(check.type(0).dtype), {}};
  check.expect(0, scalar);
  check.expect(1, scalar);
  if (check.has(2)) {
    const bool numbers = check.type(2).dtype == DType::fp32 && check.type(2).rank() == 1;
    check.require_that(numbers, 2, "expected fp32 [n], found {}", to_string(check.type(2)));
  }
  const double max_norm = use.attributes.real("max_norm");
  require(max_norm >= 0, "attribute 'max_norm' is {}, expected 0 (off) or more", max_norm);
  return {scalar};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 3);
}

}  // namespace

OpDefinition clip_coefficient_op() {
  return {.name = "clip_coefficient",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {
              {"cpu.clip_coefficient", kernels::cpu::clip_coefficient},
              {"cuda.clip_coefficient", kernels::cuda::clip_coefficient, kernels::Backend::cuda},
              {"reference", kernels::reference::clip_coefficient}}};
}

}  // namespace bessemer::ops

// What gradients are multiplied by to keep their norm within bounds. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"norm", "loss"});
  const TensorType scalar{sum_dtype(check.type(0).dtype), {}};
  check.expect(0, scalar);
  check.expect(1, scalar);
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

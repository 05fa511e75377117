// The largest magnitude of a tensor, which its scale in fp8 follows. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  check.expect_fp32_or_bf16(0);
  return {{DType::fp32, {}}};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(use.operand(0).elements()));
}

}  // namespace

OpDefinition amax_op() {
  return {.name = "amax",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // parts would meet in a maximum, which is no sum
          .candidates = {{"cpu.amax", kernels::cpu::amax},
                         {"cuda.amax", kernels::cuda::amax, kernels::Backend::cuda},
                         {"reference", kernels::reference::amax}}};
}

}  // namespace bessemer::ops

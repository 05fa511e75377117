// The largest magnitude of a tensor, which its scale in fp8 follows; or of what an element-wise
// program makes, so that it is measured where it is made. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/elementwise_program.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

kernels::ElementwiseProgram program_of(const OpUse& use) {
  return kernels::parse_elementwise_program(use.attributes.text("program"),
                                            static_cast<int>(use.operands.size()));
}

std::vector<TensorType> infer(const OpUse& use) {
  if (use.attributes.find("program") == nullptr) {
    const Checker check(use, {"x"});
    check.expect_fp32_or_bf16(0);
    return {{DType::fp32, {}}};
  }
  const Checker check(use, {"x0", "x1?", "x2?"});
  check.expect_fp32_or_bf16(0);
  for (std::size_t i = 1; i < use.operands.size(); ++i) check.expect(i, check.type(0));
  const std::size_t values = program_of(use).returns.size();
  std::vector<TensorType> results(values, check.type(0));
  results.resize(2 * values, {DType::fp32, {}});
  return results;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  double instructions = 1;
  if (use.attributes.find("program") != nullptr) {
    instructions += static_cast<double>(program_of(use).instructions.size());
  }
  return memory_work(use, results, instructions * static_cast<double>(use.operand(0).elements()));
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
                         {"reference", kernels::reference::amax}},
          .in_place = {{0, 0}, {1, 0}, {2, 1}}};
}

}  // namespace bessemer::ops

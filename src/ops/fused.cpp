// A chain of element-wise ops as one small program. Semantics: docs/ops.md.
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
  require(!use.operands.empty(), "operand 0 (x0): is absent");
  const TensorType& whole = use.operand(0);
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    const TensorType& x = use.operand(i);
    require(is_activation(x.dtype) && is_suffix(x.shape, whole.shape),
            "operand {} (x{}): expected {} or the end of it in a floating dtype, found {}", i, i,
            to_string(whole.shape), to_string(x));
  }
  return std::vector<TensorType>(program_of(use).returns.size(), whole);
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  const auto instructions = static_cast<double>(program_of(use).instructions.size());
  return memory_work(use, results, instructions * static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition fused_op() {
  return {.name = "fused",
          .infer = infer,
          .gradient = nullptr,  // fusing comes after differentiating
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.fused", kernels::cpu::fused},
                         {"cuda.fused", kernels::cuda::fused, kernels::Backend::cuda},
                         {"reference", kernels::reference::fused}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

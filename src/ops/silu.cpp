// x sigmoid(x) and its gradient. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  return {check.floating(0)};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.add("silu_grad", {result_gradients[0], node.operands[0]}, node.attributes)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 4 * static_cast<double>(results[0].elements()));
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "x"});
  check.expect(0, check.floating(1));
  return {check.type(1)};
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 8 * static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition silu_op() {
  return {.name = "silu",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.silu", kernels::cpu::silu},
                         {"cuda.silu", kernels::cuda::silu, kernels::Backend::cuda},
                         {"reference", kernels::reference::silu}},
          .in_place = {{0, 0}}};
}

OpDefinition silu_grad_op() {
  return {.name = "silu_grad",
          .infer = infer_grad,
          .gradient = nullptr,
          .work = work_grad,
          .sharding = split_elementwise,
          .candidates = {{"cpu.silu_grad", kernels::cpu::silu_grad},
                         {"cuda.silu_grad", kernels::cuda::silu_grad, kernels::Backend::cuda},
                         {"reference", kernels::reference::silu_grad}},
          .in_place = {{0, 0}, {1, 0}}};
}

}  // namespace bessemer::ops

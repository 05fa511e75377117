// silu(gate) up (Shazeer, 2020) and its gradient. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"gate", "up"});
  check.expect(1, check.floating(0));
  return {check.type(0)};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return builder.all("swiglu_grad", {result_gradients[0], node.operands[0], node.operands[1]});
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 5 * static_cast<double>(results[0].elements()));
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "gate", "up"});
  const TensorType& gate = check.floating(1);
  check.expect(0, gate);
  check.expect(2, gate);
  return {gate, gate};
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 11 * static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition swiglu_op() {
  return {.name = "swiglu",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.swiglu", kernels::cpu::swiglu},
                         {"cuda.swiglu", kernels::cuda::swiglu, kernels::Backend::cuda},
                         {"reference", kernels::reference::swiglu}},
          .in_place = {{0, 0}, {1, 0}}};
}

OpDefinition swiglu_grad_op() {
  return {.name = "swiglu_grad",
          .infer = infer_grad,
          .gradient = nullptr,
          .work = work_grad,
          .sharding = split_elementwise,
          .candidates = {{"cpu.swiglu_grad", kernels::cpu::swiglu_grad},
                         {"cuda.swiglu_grad", kernels::cuda::swiglu_grad, kernels::Backend::cuda},
                         {"reference", kernels::reference::swiglu_grad}},
          .in_place = {{1, 0}, {2, 1}}};
}

}  // namespace bessemer::ops

// Gaussian error linear unit (Hendrycks and Gimpel, 2016) and its gradient. Semantics:
// docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

void check_approximate(const Attributes& attributes) {
  const std::string name = attributes.text("approximate");
  require(name == "tanh" || name == "none",
          "attribute 'approximate' is \"{}\", expected \"tanh\" or \"none\"", name);
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  check_approximate(use.attributes);
  return {check.floating(0)};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.add("gelu_grad", {result_gradients[0], node.operands[0]}, node.attributes)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 14 * static_cast<double>(results[0].elements()));
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "x"});
  check_approximate(use.attributes);
  check.expect(0, check.floating(1));
  return {check.type(1)};
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 24 * static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition gelu_op() {
  return {.name = "gelu",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.gelu", kernels::cpu::gelu},
                         {"cuda.gelu", kernels::cuda::gelu, kernels::Backend::cuda},
                         {"reference", kernels::reference::gelu}},
          .in_place = {{0, 0}}};
}

OpDefinition gelu_grad_op() {
  return {.name = "gelu_grad",
          .infer = infer_grad,
          .gradient = nullptr,
          .work = work_grad,
          .sharding = split_elementwise,
          .candidates = {{"cpu.gelu_grad", kernels::cpu::gelu_grad},
                         {"cuda.gelu_grad", kernels::cuda::gelu_grad, kernels::Backend::cuda},
                         {"reference", kernels::reference::gelu_grad}},
          .in_place = {{0, 0}, {1, 0}}};
}

}  // namespace bessemer::ops

// Element-wise product; b may be a suffix of a. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"a", "b"});
  check.expect_broadcast_pair();
  return {check.type(0)};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const ir::ValueId a = node.operands[0], b = node.operands[1], dy = result_gradients[0];
  const Shape b_shape = builder.type(b).shape;
  return {builder.add("multiply", {dy, b}),
          sum_to_suffix(builder, builder.add("multiply", {dy, a}), b_shape,
                        suffix_gradient_dtype(builder, node))};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition multiply_op() {
  return {.name = "multiply",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.multiply", kernels::cpu::multiply},
                         {"cuda.multiply", kernels::cuda::multiply, kernels::Backend::cuda},
                         {"reference", kernels::reference::multiply}},
          .in_place = {{0, 0}, {1, 0}}};
}

}  // namespace bessemer::ops

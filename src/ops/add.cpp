// Element-wise sum; b may be a suffix of a. Semantics: docs/ops.md.
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
  const TensorType b = builder.type(node.operands[1]);
  return {result_gradients[0], sum_to_suffix(builder, result_gradients[0], b.shape,
                                             suffix_gradient_dtype(builder, node))};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition add_op() {
  return {.name = "add",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.add", kernels::cpu::add},
                         {"cuda.add", kernels::cuda::add, kernels::Backend::cuda},
                         {"reference", kernels::reference::add}},
          .in_place = {{0, 0}, {1, 0}}};
}

}  // namespace bessemer::ops

// x in another dtype. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  check.floating(0);
  use.attributes.text("dtype");
  return {{dtype_attribute(use.attributes, check.type(0).dtype), check.shape(0)}};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {cast_to(builder, result_gradients[0], builder.type(node.operands[0]).dtype)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

}  // namespace

OpDefinition cast_op() {
  return {.name = "cast",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.cast", kernels::cpu::cast},
                         {"cuda.cast", kernels::cuda::cast, kernels::Backend::cuda},
                         {"reference", kernels::reference::cast}},
          .runs_on_host = true};
}

}  // namespace bessemer::ops

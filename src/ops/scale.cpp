// x times a number. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  use.attributes.real("factor");
  return {check.floating(0)};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.add("scale", {result_gradients[0]}, node.attributes)};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition scale_op() {
  return {.name = "scale",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_elementwise,
          .candidates = {{"cpu.scale", kernels::cpu::scale},
                         {"cuda.scale", kernels::cuda::scale, kernels::Backend::cuda},
                         {"reference", kernels::reference::scale}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

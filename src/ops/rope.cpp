// Rotary position embedding (Su et al., "RoFormer", 2021). Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "kernels/rope_frequencies.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "positions"});
  const TensorType& x = check.floating_of(0, 4);
  check.expect(1, {DType::int32, {x.dim(0), x.dim(1)}});
  check.require_that(x.dim(3) > 0 && x.dim(3) % 2 == 0, 0, "expected an even head size, found {}",
                     to_string(x));
  kernels::rope_frequencies(x.dim(3), use.attributes);  // refuses what makes no angles
  use.attributes.boolean("inverse", false);
  return {x};
}

// The gradient of a rotation is the rotation back.
std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  Attributes attributes = node.attributes;
  attributes.set("inverse", !attributes.boolean("inverse", false));
  return {builder.add("rope", {result_gradients[0], node.operands[1]}, std::move(attributes)),
          ir::kAbsent};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 3 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  return {split(use, {0, 0}, {0}), split(use, {1, 1}, {1}), split(use, {2}, {2})};
}

}  // namespace

OpDefinition rope_op() {
  return {.name = "rope",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.rope", kernels::cpu::rope},
                         {"cuda.rope", kernels::cuda::rope, kernels::Backend::cuda},
                         {"reference", kernels::reference::rope}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

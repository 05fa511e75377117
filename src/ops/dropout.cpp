// Zeros a random part of x and scales up the rest. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "counter"});
  check.expect(1, {DType::int64, {3}});
  use.attributes.real("probability");
  probability_attribute(use.attributes, "probability", 0);
  use.attributes.integer("site");
  return {check.floating(0)};
}

// The mask is a function of the counter, so it is made again rather than kept.
std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.add("dropout", {result_gradients[0], node.operands[1]}, node.attributes),
          ir::kAbsent};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 30 * static_cast<double>(results[0].elements()));
}

}  // namespace

OpDefinition dropout_op() {
  return {.name = "dropout",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = nullptr,  // a number belongs to an index of the whole, which a part lacks
          .candidates = {{"cpu.dropout", kernels::cpu::dropout},
                         {"cuda.dropout", kernels::cuda::dropout, kernels::Backend::cuda},
                         {"reference", kernels::reference::dropout}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

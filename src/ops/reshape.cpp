// The same elements under another shape: a view. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  const TensorType y{check.type(0).dtype, shape_attribute(use.attributes)};
  check.require_that(y.elements() == check.type(0).elements(), 0,
                     "expected {} elements for shape {}, found {}", y.elements(),
                     to_string(y.shape), to_string(check.type(0)));
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.reshape(result_gradients[0], builder.type(node.operands[0]).shape)};
}

Work work(const OpUse&, std::span<const TensorType>) { return {}; }

// Two dimensions split alike where as many elements lie before them: part p of the one is then
// part p of the other, as far as both sizes can be divided.
std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  const Shape& from = use.operand(0).shape;
  const Shape& to = results[0].shape;
  std::vector<SplitAxis> axes;
  std::int64_t before = 1;
  for (std::size_t i = 0; i < from.size(); before *= from[i++]) {
    std::int64_t before_too = 1;
    for (std::size_t j = 0; j < to.size(); before_too *= to[j++]) {
      if (before != before_too || from[i] < 2 || to[j] < 2) continue;
      SplitAxis axis = split(use, {static_cast<int>(i)}, {static_cast<int>(j)});
      axis.attribute = "shape";
      axis.attribute_index = static_cast<int>(j);
      axes.push_back(std::move(axis));
    }
  }
  return axes;
}

}  // namespace

OpDefinition reshape_op() {
  return {.name = "reshape",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.reshape", kernels::cpu::reshape},
                         {"cuda.reshape", kernels::cuda::reshape, kernels::Backend::cuda},
                         {"reference", kernels::reference::reshape}},
          .is_view = true};
}

}  // namespace bessemer::ops

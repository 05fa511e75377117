// Copies along new dimensions: the inverse of reduce_sum. Semantics: docs/ops.md.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  TensorType y{check.type(0).dtype, shape_attribute(use.attributes)};
  const auto dims = dims_attribute(use.attributes, y.rank());
  Shape kept;
  for (std::int64_t d = 0; d < y.rank(); ++d) {
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) kept.push_back(y.dim(d));
  }
  check.require_that(check.shape(0) == kept, 0, "expected {}, found {}", to_string(kept),
                     to_string(check.shape(0)));
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  return {builder.add("reduce_sum", {result_gradients[0]},
                      {{"dims", node.attributes.integers("dims")}})};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  const auto dims = use.attributes.integers("dims");
  std::vector<SplitAxis> axes;
  int own = 0;
  for (int d = 0; d < results[0].rank(); ++d) {
    const bool is_new = std::find(dims.begin(), dims.end(), d) != dims.end();
    SplitAxis axis = split(use, {is_new ? SplitAxis::kWhole : own++}, {d});
    axis.attribute = "shape";
    axis.attribute_index = d;
    axes.push_back(std::move(axis));
  }
  return axes;
}

}  // namespace

OpDefinition broadcast_op() {
  return {.name = "broadcast",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.broadcast", kernels::cpu::broadcast},
                         {"cuda.broadcast", kernels::cuda::broadcast, kernels::Backend::cuda},
                         {"reference", kernels::reference::broadcast}}};
}

}  // namespace bessemer::ops

// Sum over dimensions, which go away. Semantics: docs/ops.md.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "addend?"});
  const TensorType& x = check.floating(0);
  const auto dims = dims_attribute(use.attributes, x.rank());
  TensorType y{dtype_attribute(use.attributes, x.dtype), {}};
  for (std::int64_t d = 0; d < x.rank(); ++d) {
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) y.shape.push_back(x.dim(d));
  }
  check.expect(1, y);
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const TensorType x = builder.type(node.operands[0]);
  return {builder.add("broadcast", {cast_to(builder, result_gradients[0], x.dtype)},
                      {{"shape", x.shape}, {"dims", node.attributes.integers("dims")}})};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(use.operand(0).elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  if (use.has(1)) return {};  // each part would add the addend
  const auto dims = use.attributes.integers("dims");
  std::vector<SplitAxis> axes;
  int kept = 0;
  for (int d = 0; d < use.operand(0).rank(); ++d) {
    const bool summed = std::find(dims.begin(), dims.end(), d) != dims.end();
    axes.push_back(split(use, {d}, {summed ? SplitAxis::kReduce : kept++}));
  }
  return axes;
}

}  // namespace

OpDefinition reduce_sum_op() {
  return {.name = "reduce_sum",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.reduce_sum", kernels::cpu::reduce_sum},
                         {"cuda.reduce_sum", kernels::cuda::reduce_sum, kernels::Backend::cuda},
                         {"reference", kernels::reference::reduce_sum}},
          .in_place = {{1, 0}}};
}

}  // namespace bessemer::ops

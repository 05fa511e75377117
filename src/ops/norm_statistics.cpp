// Mean and deviation of rows: what a norm needs to know before it works on an element. For graphs
// in which the rest of the norm is part of another node. Semantics: docs/ops.md.
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

bool centred(const Attributes& attributes) { return attributes.boolean("centred"); }

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  const TensorType& x = check.floating_at_least(0, 1);
  use.attributes.real("epsilon");
  return std::vector<TensorType>(centred(use.attributes) ? 2 : 1,
                                 {sum_dtype(x.dtype), leading(x.shape)});
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  const double instructions = centred(use.attributes) ? 4 : 2;
  return memory_work(use, results, instructions * static_cast<double>(use.operand(0).elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  for (int d = 0; d < results[0].rank(); ++d) {
    axes.push_back(results.size() == 2 ? split(use, {d}, {d, d}) : split(use, {d}, {d}));
  }
  return axes;
}

}  // namespace

OpDefinition norm_statistics_op() {
  return {.name = "norm_statistics",
          .infer = infer,
          .gradient = nullptr,  // made after differentiating
          .work = work,
          .sharding = sharding,
          .candidates = {
              {"cuda.norm_statistics", kernels::cuda::norm_statistics, kernels::Backend::cuda},
              {"reference", kernels::reference::norm_statistics}}};
}

}  // namespace bessemer::ops

// Layer normalisation (Ba et al., 2016) and its gradient. Semantics: docs/ops.md.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

TensorType statistics_of(const TensorType& x) { return {sum_dtype(x.dtype), leading(x.shape)}; }

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "gain", "bias?"});
  const TensorType& x = check.floating_at_least(0, 1);
  check.expect_shape(1, {x.dim(-1)});
  check.expect_shape(2, {x.dim(-1)});
  use.attributes.real("epsilon");
  return with_amax(use, {x, statistics_of(x), statistics_of(x)});
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  auto gradients = no_gradients(node);
  const ir::ValueId dy = only_gradient(node, result_gradients);
  if (dy == ir::kAbsent) return gradients;
  const auto parts = builder.all("layer_norm_grad", {dy, node.operands[0], node.operands[1],
                                                     node.results[1], node.results[2]});
  std::copy_n(parts.begin(), gradients.size(), gradients.begin());  // dx, dgain and, if any, dbias
  return gradients;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 8 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  if (measures(use)) return axes;  // parts would meet in a maximum, which is no sum
  for (int d = 0; d + 1 < results[0].rank(); ++d) axes.push_back(split(use, {d}, {d, d, d}));
  return axes;
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "x", "gain", "mean", "rstd", "addend?"});
  const TensorType& x = check.floating_at_least(1, 1);
  check.expect(0, x);
  check.expect_shape(2, {x.dim(-1)});
  check.expect(3, statistics_of(x));
  check.expect(4, statistics_of(x));
  check.expect(5, x);
  const TensorType vector{sum_dtype(x.dtype), {x.dim(-1)}};
  return with_amax(use, {x, vector, vector});
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 14 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding_grad(const OpUse& use, std::span<const TensorType> results) {
  constexpr int whole = SplitAxis::kWhole, reduce = SplitAxis::kReduce;
  std::vector<SplitAxis> axes;
  if (measures(use)) return axes;  // parts would meet in a maximum, which is no sum
  for (int d = 0; d + 1 < results[0].rank(); ++d) {
    axes.push_back(split(use, {d, d, whole, d, d, d}, {d, reduce, reduce}));
  }
  return axes;
}

}  // namespace

OpDefinition layer_norm_op() {
  return {.name = "layer_norm",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.layer_norm", kernels::cpu::layer_norm},
                         {"cuda.layer_norm", kernels::cuda::layer_norm, kernels::Backend::cuda},
                         {"reference", kernels::reference::layer_norm}}};
}

OpDefinition layer_norm_grad_op() {
  return {.name = "layer_norm_grad",
          .infer = infer_grad,
          .gradient = nullptr,
          .work = work_grad,
          .sharding = sharding_grad,
          .candidates = {{"cpu.layer_norm_grad", kernels::cpu::layer_norm_grad},
                         {"cuda.layer_norm_grad", kernels::cuda::layer_norm_grad,
                          kernels::Backend::cuda},
                         {"reference", kernels::reference::layer_norm_grad}},
          .in_place = {{5, 0}, {0, 0}}};
}

}  // namespace bessemer::ops

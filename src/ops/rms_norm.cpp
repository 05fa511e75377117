// Root-mean-square normalisation (Zhang and Sennrich, 2019) and its gradient. Semantics:
// docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

TensorType statistics_of(const TensorType& x) { return {sum_dtype(x.dtype), leading(x.shape)}; }

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "gain"});
  const TensorType& x = check.floating_at_least(0, 1);
  check.expect_shape(1, {x.dim(-1)});
  use.attributes.real("epsilon");
  return with_amax(use, {x, statistics_of(x)});
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const ir::ValueId dy = only_gradient(node, result_gradients);
  if (dy == ir::kAbsent) return no_gradients(node);
  return builder.all("rms_norm_grad", {dy, node.operands[0], node.operands[1], node.results[1]});
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 4 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  if (measures(use)) return axes;  // parts would meet in a maximum, which is no sum
  for (int d = 0; d + 1 < results[0].rank(); ++d) axes.push_back(split(use, {d}, {d, d}));
  return axes;
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "x", "gain", "rstd", "addend?"});
  const TensorType& x = check.floating_at_least(1, 1);
  check.expect(0, x);
  check.expect_shape(2, {x.dim(-1)});
  check.expect(3, statistics_of(x));
  check.expect(4, x);
  return with_amax(use, {x, {sum_dtype(x.dtype), {x.dim(-1)}}});
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 10 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding_grad(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  if (measures(use)) return axes;  // parts would meet in a maximum, which is no sum
  for (int d = 0; d + 1 < results[0].rank(); ++d) {
    axes.push_back(split(use, {d, d, SplitAxis::kWhole, d, d}, {d, SplitAxis::kReduce}));
  }
  return axes;
}

}  // namespace

OpDefinition rms_norm_op() {
  return {.name = "rms_norm",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.rms_norm", kernels::cpu::rms_norm},
                         {"cuda.rms_norm", kernels::cuda::rms_norm, kernels::Backend::cuda},
                         {"reference", kernels::reference::rms_norm}}};
}

OpDefinition rms_norm_grad_op() {
  return {
      .name = "rms_norm_grad",
      .infer = infer_grad,
      .gradient = nullptr,
      .work = work_grad,
      .sharding = sharding_grad,
      .candidates = {{"cpu.rms_norm_grad", kernels::cpu::rms_norm_grad},
                     {"cuda.rms_norm_grad", kernels::cuda::rms_norm_grad, kernels::Backend::cuda},
                     {"reference", kernels::reference::rms_norm_grad}},
      .in_place = {{4, 0}, {0, 0}}};
}

}  // namespace bessemer::ops

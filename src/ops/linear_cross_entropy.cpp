// The output layer and its cross entropy in chunks of rows, so that the logits never exist whole.
// Semantics: docs/ops.md.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

TensorType loss_of(const TensorType& x) { return {sum_dtype(x.dtype), {}}; }
TensorType lse_of(const TensorType& x) { return {sum_dtype(x.dtype), {x.dim(0)}}; }
TensorType dw_of(const TensorType& w) { return {sum_dtype(w.dtype), w.shape}; }

// x, w, targets at `first` and onwards.
void check_layer(const Checker& check, std::size_t first, const Attributes& attributes) {
  const TensorType& x = check.floating_of(first, 2);
  const TensorType& w = check.floating_of(first + 1, 2);
  check.expect(first + 1, {x.dtype, {w.dim(0), x.dim(1)}});
  check.expect(first + 2, {DType::int32, {x.dim(0)}});
  const std::int64_t chunk = attributes.integer("chunk");
  require(chunk > 0, "attribute 'chunk' is {}, expected 1 or more rows", chunk);
}

// Arithmetic on each logit beside the products: maximum, exponential and sum, and for the gradient
// an exponential again; with the passes over the chunk's logits that go with it.
constexpr double kSoftmaxFlops = 40;

// What a chunk costs beside its products, for each element of w: all of them convert and pack w,
// and those of backward also read and write the sums of dw so far. So that 1280 rows of 768 by
// 50257 in chunks of 160, 128 and 64 take 5%, 9% and 26% more than in chunks of 320, as measured
// (bench/matmul.cpp, chunks_of_*).
constexpr double kForwardChunkFlops = 4;
constexpr double kBackwardChunkFlops = 19;

// `products` products of the size of the logits.
Work layer_work(const OpUse& use, std::span<const TensorType> results, std::size_t first,
                int products) {
  const TensorType& x = use.operand(first);
  const TensorType& w = use.operand(first + 1);
  Work work = memory_work(
      use, results,
      2.0 * products * static_cast<double>(x.elements()) * static_cast<double>(w.dim(0)));
  const double chunks = std::ceil(static_cast<double>(x.dim(0)) /
                                  static_cast<double>(use.attributes.integer("chunk")));
  const double further = std::max(chunks - 1, 0.0);
  const bool backward = products > 1;
  const double sums = backward ? static_cast<double>(dw_of(w).bytes()) : 0;
  work.bytes_read += further * (static_cast<double>(w.bytes()) * (backward ? 2 : 1) + sums);
  work.bytes_written += further * sums;
  work.unit = Unit::product;
  work.vector_flops = kSoftmaxFlops * (backward ? 3 : 1) * static_cast<double>(x.dim(0)) *
                          static_cast<double>(w.dim(0)) +
                      (backward ? kBackwardChunkFlops : kForwardChunkFlops) * further *
                          static_cast<double>(w.elements());
  return work;
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "w", "targets"});
  check_layer(check, 0, use.attributes);
  return {loss_of(check.type(0)), lse_of(check.type(0))};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const ir::ValueId dloss = only_gradient(node, result_gradients);
  if (dloss == ir::kAbsent) return no_gradients(node);
  const auto parts =
      builder.all("linear_cross_entropy_grad",
                  {dloss, node.operands[0], node.operands[1], node.operands[2], node.results[1]},
                  node.attributes);
  return {parts[0], parts[1], ir::kAbsent};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return layer_work(use, results, 0, 1);
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  return {split(use, {0, SplitAxis::kWhole, 0}, {SplitAxis::kReduce, 0})};
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dloss", "x", "w", "targets", "lse", "addend?"});
  check_layer(check, 1, use.attributes);
  const TensorType& x = check.type(1);
  check.expect(0, loss_of(x));
  check.expect(4, lse_of(x));
  check.expect(5, dw_of(check.type(2)));
  return {x, dw_of(check.type(2))};
}

// The logits are made again.
Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return layer_work(use, results, 1, 3);
}

std::vector<SplitAxis> sharding_grad(const OpUse& use, std::span<const TensorType>) {
  if (use.has(5)) return {};  // each part would add the addend
  constexpr int whole = SplitAxis::kWhole;
  return {split(use, {whole, 0, whole, 0, 0}, {0, SplitAxis::kReduce})};
}

std::vector<TensorType> infer_train(const OpUse& use) {
  const Checker check(use, {"dloss", "x", "w", "targets", "addend?"});
  check_layer(check, 1, use.attributes);
  const TensorType& x = check.type(1);
  check.expect(0, loss_of(x));
  check.expect(4, dw_of(check.type(2)));
  return {loss_of(x), x, dw_of(check.type(2))};
}

std::vector<SplitAxis> sharding_train(const OpUse& use, std::span<const TensorType>) {
  if (use.has(4)) return {};
  constexpr int whole = SplitAxis::kWhole, reduce = SplitAxis::kReduce;
  return {split(use, {whole, 0, whole, 0}, {reduce, 0, reduce})};
}

}  // namespace

OpDefinition linear_cross_entropy_op() {
  return {.name = "linear_cross_entropy",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.linear_cross_entropy", kernels::cpu::linear_cross_entropy},
                         {"cuda.linear_cross_entropy", kernels::cuda::linear_cross_entropy,
                          kernels::Backend::cuda},
                         {"reference", kernels::reference::linear_cross_entropy}}};
}

OpDefinition linear_cross_entropy_grad_op() {
  return {.name = "linear_cross_entropy_grad",
          .infer = infer_grad,
          .gradient = nullptr,
          .work = work_grad,
          .sharding = sharding_grad,
          .candidates = {{"cpu.linear_cross_entropy_grad", kernels::cpu::linear_cross_entropy_grad},
                         {"cuda.linear_cross_entropy_grad",
                          kernels::cuda::linear_cross_entropy_grad, kernels::Backend::cuda},
                         {"reference", kernels::reference::linear_cross_entropy_grad}},
          .in_place = {{5, 1}}};
}

OpDefinition linear_cross_entropy_train_op() {
  return {
      .name = "linear_cross_entropy_train",
      .infer = infer_train,
      .gradient = nullptr,
      .work = work_grad,
      .sharding = sharding_train,
      .candidates = {{"cpu.linear_cross_entropy_train", kernels::cpu::linear_cross_entropy_train},
                     {"cuda.linear_cross_entropy_train", kernels::cuda::linear_cross_entropy_train,
                      kernels::Backend::cuda},
                     {"reference", kernels::reference::linear_cross_entropy_train}},
      .in_place = {{4, 2}}};
}

}  // namespace bessemer::ops

// Scaled dot-product attention (Vaswani et al., 2017) with grouped queries, and its gradient.
// Semantics: docs/ops.md.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

struct Sizes {
  std::int64_t batch, queries, keys, heads, head_size;
};

Sizes sizes_of(const TensorType& q, const TensorType& k) {
  return {q.dim(0), q.dim(1), k.dim(1), q.dim(2), q.dim(3)};
}

TensorType lse_of(const TensorType& q) {
  return {sum_dtype(q.dtype), {q.dim(0), q.dim(2), q.dim(1)}};
}

// q, k, v at `first` and onwards.
void check_heads(const Checker& check, std::size_t first) {
  const TensorType& q = check.floating_of(first, 4);
  const TensorType& k = check.floating_of(first + 1, 4);
  check.expect_dtype(first + 1, q.dtype);
  check.require_that(k.dim(0) == q.dim(0) && k.dim(3) == q.dim(3), first + 1,
                     "expected batch {} and head size {}, found {}", q.dim(0), q.dim(3),
                     to_string(k));
  check.require_that(k.dim(2) > 0 && q.dim(2) % k.dim(2) == 0, first + 1,
                     "expected key heads that divide {} heads, found {}", q.dim(2), to_string(k));
  check.expect(first + 2, k);
}

// visibility and counter at `first` and onwards.
void check_masks(const Checker& check, std::size_t first, const TensorType& q,
                 const Attributes& attributes) {
  check.expect(first, {DType::int32, {q.dim(0), q.dim(1), 2}});
  check.expect(first + 1, {DType::int64, {3}});
  attributes.real("scale");
  attributes.boolean("causal", false);
  const std::int64_t window = attributes.integer("window", 0);
  require(window >= 0, "attribute 'window' is {}, expected 0 (off) or more", window);
  if (probability_attribute(attributes, "dropout", 0) == 0) return;
  attributes.integer("site");
  check.require_that(check.has(first + 1), first + 1, "is absent, but dropout draws by it");
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"q", "k", "v", "visibility?", "counter?"});
  check_heads(check, 0);
  check_masks(check, 3, check.type(0), use.attributes);
  return {check.type(0), lse_of(check.type(0))};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  auto gradients = no_gradients(node);
  const ir::ValueId dy = only_gradient(node, result_gradients);
  if (dy == ir::kAbsent) return gradients;
  std::vector<ir::ValueId> operands{
      dy, node.operands[0], node.operands[1], node.operands[2], node.results[0], node.results[1]};
  operands.insert(operands.end(), node.operands.begin() + 3, node.operands.end());
  const auto parts = builder.all("attention_grad", std::move(operands), node.attributes);
  std::copy(parts.begin(), parts.end(), gradients.begin());
  return gradients;
}

// Pairs of a query and a key it may see, by causality and window. What documents hide is in the
// data and not known here.
double visible_pairs(const Sizes& sizes, const Attributes& attributes) {
  const bool causal = attributes.boolean("causal", false);
  const std::int64_t window = attributes.integer("window", 0);
  double pairs = 0;
  for (std::int64_t t = 0; t < sizes.queries; ++t) {
    const std::int64_t own = t + sizes.keys - sizes.queries;
    const std::int64_t end = causal ? std::clamp<std::int64_t>(own + 1, 0, sizes.keys) : sizes.keys;
    const std::int64_t begin = window > 0 ? std::max<std::int64_t>(own - window + 1, 0) : 0;
    pairs += static_cast<double>(std::max<std::int64_t>(end - begin, 0));
  }
  return pairs;
}

// `products` matrix products over all visible pairs.
Work product_work(const OpUse& use, std::span<const TensorType> results, const Sizes& sizes,
                  int products) {
  const double pairs =
      visible_pairs(sizes, use.attributes) * static_cast<double>(sizes.batch * sizes.heads);
  Work total =
      memory_work(use, results, 2 * products * pairs * static_cast<double>(sizes.head_size));
  total.unit = Unit::attention;
  return total;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return product_work(use, results, sizes_of(use.operand(0), use.operand(1)), 2);
}

// Numbers drawn belong to an index of the whole, which a part lacks.
bool draws(const OpUse& use) { return use.attributes.real("dropout", 0) > 0; }

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  if (draws(use)) return {};
  return {split(use, {0, 0, 0, 0}, {0, 0}), split(use, {2, 2, 2}, {2, 1})};
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"do", "q", "k", "v", "o", "lse", "visibility?", "counter?"});
  check_heads(check, 1);
  const TensorType& q = check.type(1);
  check.expect(0, q);
  check.expect(4, q);
  check.expect(5, lse_of(q));
  check_masks(check, 6, q, use.attributes);
  return {q, check.type(2), check.type(3)};
}

// The scores are made again: five products for the two of the forward pass.
Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return product_work(use, results, sizes_of(use.operand(1), use.operand(2)), 5);
}

std::vector<SplitAxis> sharding_grad(const OpUse& use, std::span<const TensorType>) {
  if (draws(use)) return {};
  return {split(use, {0, 0, 0, 0, 0, 0, 0}, {0, 0, 0}), split(use, {2, 2, 2, 2, 2, 1}, {2, 2, 2})};
}

}  // namespace

OpDefinition attention_op() {
  return {.name = "attention",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.attention", kernels::cpu::attention},
                         {"cuda.attention", kernels::cuda::attention, kernels::Backend::cuda},
                         {"reference", kernels::reference::attention}}};
}

OpDefinition attention_grad_op() {
  return {
      .name = "attention_grad",
      .infer = infer_grad,
      .gradient = nullptr,
      .work = work_grad,
      .sharding = sharding_grad,
      .candidates = {{"cpu.attention_grad", kernels::cpu::attention_grad},
                     {"cuda.attention_grad", kernels::cuda::attention_grad, kernels::Backend::cuda},
                     {"reference", kernels::reference::attention_grad}}};
}

}  // namespace bessemer::ops

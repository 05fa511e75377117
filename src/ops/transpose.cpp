// Dimensions in another order. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<std::int64_t> permutation_of(const Attributes& attributes, std::int64_t rank) {
  auto permutation = attributes.integers("permutation");
  std::vector<bool> seen(static_cast<std::size_t>(rank), false);
  bool valid = static_cast<std::int64_t>(permutation.size()) == rank;
  for (std::size_t i = 0; valid && i < permutation.size(); ++i) {
    const std::int64_t d = permutation[i];
    valid = d >= 0 && d < rank && !seen[static_cast<std::size_t>(d)];
    if (valid) seen[static_cast<std::size_t>(d)] = true;
  }
  require(valid, "attribute 'permutation' is {}, expected each dimension below {} once",
          to_string(Shape(permutation)), rank);
  return permutation;
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  const TensorType& x = check.type(0);
  TensorType y{x.dtype, {}};
  for (const std::int64_t d : permutation_of(use.attributes, x.rank())) {
    y.shape.push_back(x.dim(d));
  }
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const auto permutation = node.attributes.integers("permutation");
  std::vector<std::int64_t> inverse(permutation.size());
  for (std::size_t i = 0; i < permutation.size(); ++i) {
    inverse[static_cast<std::size_t>(permutation[i])] = static_cast<std::int64_t>(i);
  }
  return {builder.add("transpose", {result_gradients[0]}, {{"permutation", std::move(inverse)}})};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  const auto permutation = use.attributes.integers("permutation");
  std::vector<SplitAxis> axes;
  for (std::size_t i = 0; i < permutation.size(); ++i) {
    axes.push_back(split(use, {static_cast<int>(permutation[i])}, {static_cast<int>(i)}));
  }
  return axes;
}

}  // namespace

OpDefinition transpose_op() {
  return {.name = "transpose",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.transpose", kernels::cpu::transpose},
                         {"cuda.transpose", kernels::cuda::transpose, kernels::Backend::cuda},
                         {"reference", kernels::reference::transpose}}};
}

}  // namespace bessemer::ops

// Tensors one after the other along one dimension. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 60;  // two more may be added in 64 bits

// Like `expected`, but for the size of `dim`.
bool matches_but_dim(const TensorType& found, const TensorType& expected, std::size_t dim) {
  if (found.rank() != expected.rank()) return false;
  TensorType same = found;
  same.shape[dim] = expected.shape[dim];
  return same == expected;
}

std::vector<TensorType> infer(const OpUse& use) {
  require(!use.operands.empty(), "operand 0 (x0): is absent");
  TensorType y = use.operand(0);
  const auto dim = static_cast<std::size_t>(dim_attribute(use.attributes, y.rank()));
  y.shape[dim] = 0;
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    require(matches_but_dim(use.operand(i), use.operand(0), dim),
            "operand {} (x{}): expected {} but for dimension {}, found {}", i, i,
            to_string(use.operand(0)), dim, to_string(use.operand(i)));
    y.shape[dim] += use.operand(i).shape[dim];
    require(y.shape[dim] <= kMostRows, "operand {} (x{}): the result's dimension {} becomes {}", i,
            i, dim, y.shape[dim]);
  }
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const std::int64_t dim = node.attributes.integer("dim");
  std::vector<ir::ValueId> gradients;
  std::int64_t begin = 0;
  for (const ir::ValueId x : node.operands) {
    const std::int64_t end = begin + builder.type(x).dim(dim);
    gradients.push_back(builder.add("slice", {result_gradients[0]},
                                    {{"dim", dim}, {"begin", begin}, {"end", end}}));
    begin = end;
  }
  return gradients;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

}  // namespace

OpDefinition concat_op() {
  return {.name = "concat",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_but_dim,
          .candidates = {{"cpu.concat", kernels::cpu::concat},
                         {"cuda.concat", kernels::cuda::concat, kernels::Backend::cuda},
                         {"reference", kernels::reference::concat}}};
}

}  // namespace bessemer::ops

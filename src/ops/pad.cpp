// Zeros around one dimension: the gradient of slice. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

constexpr std::int64_t kMostPadding = std::int64_t{1} << 40;

std::int64_t padding(const Attributes& attributes, std::string_view name) {
  const std::int64_t size = attributes.integer(name);
  require(size >= 0 && size <= kMostPadding, "attribute '{}' is {}, expected 0 or more", name,
          size);
  return size;
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  TensorType y = check.type(0);
  const std::int64_t dim = dim_attribute(use.attributes, y.rank());
  y.shape[static_cast<std::size_t>(dim)] +=
      padding(use.attributes, "before") + padding(use.attributes, "after");
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const std::int64_t dim = node.attributes.integer("dim");
  const std::int64_t before = node.attributes.integer("before");
  const std::int64_t size = builder.type(node.operands[0]).dim(dim);
  return {builder.add("slice", {result_gradients[0]},
                      {{"dim", dim}, {"begin", before}, {"end", before + size}})};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

}  // namespace

OpDefinition pad_op() {
  return {.name = "pad",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = split_but_dim,
          .candidates = {{"cpu.pad", kernels::cpu::pad},
                         {"cuda.pad", kernels::cuda::pad, kernels::Backend::cuda},
                         {"reference", kernels::reference::pad}}};
}

}  // namespace bessemer::ops

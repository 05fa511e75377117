// A range of one dimension. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  TensorType y = check.type(0);
  const std::int64_t dim = dim_attribute(use.attributes, y.rank());
  const std::int64_t begin = use.attributes.integer("begin"), end = use.attributes.integer("end");
  check.require_that(begin >= 0 && begin <= end && end <= y.dim(dim), 0,
                     "expected dimension {} to hold [{}, {}), found {}", dim, begin, end,
                     to_string(y));
  y.shape[static_cast<std::size_t>(dim)] = end - begin;
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const std::int64_t dim = node.attributes.integer("dim");
  const std::int64_t size = builder.type(node.operands[0]).dim(dim);
  return {builder.add("pad", {result_gradients[0]},
                      {{"dim", dim},
                       {"before", node.attributes.integer("begin")},
                       {"after", size - node.attributes.integer("end")}})};
}

}  // namespace

OpDefinition slice_op() {
  return {.name = "slice",
          .infer = infer,
          .gradient = gradient,
          .work = copy_work,
          .sharding = split_but_dim,
          .candidates = {{"cpu.slice", kernels::cpu::slice},
                         {"cuda.slice", kernels::cuda::slice, kernels::Backend::cuda},
                         {"reference", kernels::reference::slice}}};
}

}  // namespace bessemer::ops

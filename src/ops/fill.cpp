// A constant. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {});
  const auto dtype = parse_dtype(use.attributes.text("dtype"));
  require(dtype.has_value(), "attribute 'dtype' is \"{}\", expected a dtype",
          use.attributes.text("dtype"));
  use.attributes.real("value");
  return {{*dtype, shape_attribute(use.attributes)}};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results);
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  for (int d = 0; d < results[0].rank(); ++d) {
    SplitAxis axis = split(use, {}, {d});
    axis.attribute = "shape";
    axis.attribute_index = d;
    axes.push_back(std::move(axis));
  }
  return axes;
}

}  // namespace

OpDefinition fill_op() {
  return {.name = "fill",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.fill", kernels::cpu::fill},
                         {"cuda.fill", kernels::cuda::fill, kernels::Backend::cuda},
                         {"reference", kernels::reference::fill}}};
}

}  // namespace bessemer::ops

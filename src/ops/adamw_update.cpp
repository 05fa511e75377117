// One step of AdamW (Loshchilov and Hutter, 2019) on one parameter. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use,
                      {"parameter", "gradient", "m", "v", "learning_rate", "step", "coefficient"});
  const TensorType& parameter = check.type(0);
  check.require_that(parameter.dtype == sum_dtype(parameter.dtype), 0,
                     "expected fp32 or fp64, found {}", to_string(parameter));
  for (const std::size_t i : {1, 2, 3}) check.expect(i, parameter);
  check.expect(4, {parameter.dtype, {}});
  check.expect(5, {DType::int64, {}});
  check.expect(6, {parameter.dtype, {}});
  for (const auto* name : {"beta1", "beta2", "epsilon", "weight_decay"}) use.attributes.real(name);
  std::vector<TensorType> results{parameter, parameter, parameter};
  if (use.attributes.find("weight") != nullptr) {
    const std::string weight = use.attributes.text("weight");
    const auto dtype = parse_dtype(weight);
    require(dtype && is_activation(*dtype),
            "attribute 'weight' is \"{}\", expected the dtype of an activation", weight);
    results.push_back({*dtype, parameter.shape});
  }
  return results;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 15 * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  for (int d = 0; d < results[0].rank(); ++d) {
    axes.push_back(split(use, {d, d, d, d}, {d, d, d}));
    axes.back().result_dims.resize(results.size(), d);
  }
  return axes;
}

}  // namespace

OpDefinition adamw_update_op() {
  return {.name = "adamw_update",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.adamw_update", kernels::cpu::adamw_update},
                         {"cuda.adamw_update", kernels::cuda::adamw_update, kernels::Backend::cuda},
                         {"reference", kernels::reference::adamw_update}},
          .in_place = {{0, 0}, {2, 1}, {3, 2}},
          .runs_on_host = true};
}

}  // namespace bessemer::ops

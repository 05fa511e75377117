// One step of AdamW (Loshchilov and Hutter, 2019) on one parameter. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/adamw.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use,
                      {"parameter", "gradient", "m", "v", "learning_rate", "step", "coefficient"});
  const TensorType& parameter = check.type(0);
  const bool rounded = is_rounded(parameter.dtype);
  check.require_that(rounded || parameter.dtype == sum_dtype(parameter.dtype), 0,
                     "expected fp32, fp64 or bf16, found {}", to_string(parameter));
  const TensorType state{sum_dtype(parameter.dtype), parameter.shape}, scalar{state.dtype, {}};
  for (const std::size_t i : {1, 2, 3}) check.expect(i, state);
  check.expect(4, scalar);
  check.expect(5, {DType::int64, {}});
  check.expect(6, scalar);
  for (const auto* name : {"beta1", "beta2", "epsilon", "weight_decay"}) use.attributes.real(name);
  if (rounded) {
    use.attributes.integer("seed");
    use.attributes.integer("site");
    require(use.attributes.integer("first", 0) >= 0, "attribute 'first' is negative");
  }
  std::vector<TensorType> results{parameter, state, state};
  if (use.attributes.find("weight") != nullptr) {
    require(!rounded, "attribute 'weight': the parameter is one itself, in {}",
            name_of(parameter.dtype));
    const std::string weight = use.attributes.text("weight");
    const auto dtype = parse_dtype(weight);
    require(dtype && is_activation(*dtype),
            "attribute 'weight' is \"{}\", expected the dtype of an activation", weight);
    results.push_back({*dtype, parameter.shape});
  }
  return results;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  const double each = adamw_flops(results[0].dtype);
  return memory_work(use, results, each * static_cast<double>(results[0].elements()));
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  // A random number belongs to an index of the whole, which a part lacks.
  if (is_rounded(results[0].dtype)) return axes;
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

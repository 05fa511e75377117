// The largest magnitudes of a step's tensors, from those of its micro-batches. Semantics:
// docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const std::int64_t size = use.attributes.integer("size");
  const auto most = static_cast<std::size_t>(std::max<std::int64_t>(size, 0)) + 1;
  require(size >= 1, "attribute 'size' is {}, expected 1 or more", size);
  require(use.operands.size() <= most, "expected at most {} operands, found {}", most,
          use.operands.size());
  const TensorType collected{DType::fp32, {size}};
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    if (!use.has(i)) continue;
    const TensorType& found = use.operand(i);
    if (i == 0) {
      require(found == collected, "operand 0 (before): expected {}, found {}", to_string(collected),
              to_string(found));
    } else {
      require(found.dtype == DType::fp32 && found.rank() == 1,
              "operand {} (amax): expected fp32 of one dimension, found {}", i, to_string(found));
    }
  }
  return {collected};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(use.operands.size()));
}

}  // namespace

OpDefinition collect_amax_op() {
  return {.name = "collect_amax",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // of scalars
          .candidates = {{"cpu.collect_amax", kernels::cpu::collect_amax},
                         {"cuda.collect_amax", kernels::cuda::collect_amax, kernels::Backend::cuda},
                         {"reference", kernels::reference::collect_amax}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

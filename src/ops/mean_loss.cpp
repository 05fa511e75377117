// The loss of a step, from those of its micro-batches. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

const TensorType kSum{DType::fp64, {}};

std::vector<TensorType> infer_sum(const OpUse& use) {
  const Checker check(use, {"loss", "sum?"});
  check.expect(0, {sum_dtype(check.type(0).dtype), {}});
  check.expect(1, kSum);
  return {kSum};
}

std::vector<TensorType> infer_mean(const OpUse& use) {
  const Checker check(use, {"sum", "scale"});
  check.expect(0, kSum);
  check.expect(1, kSum);
  return {kSum, {sum_dtype(dtype_attribute(use.attributes, DType::fp32)), {}}};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 1);
}

}  // namespace

OpDefinition add_loss_op() {
  return {.name = "add_loss",
          .infer = infer_sum,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.add_loss", kernels::cpu::add_loss},
                         {"cuda.add_loss", kernels::cuda::add_loss, kernels::Backend::cuda},
                         {"reference", kernels::reference::add_loss}},
          .in_place = {{1, 0}}};
}

OpDefinition mean_loss_op() {
  return {.name = "mean_loss",
          .infer = infer_mean,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.mean_loss", kernels::cpu::mean_loss},
                         {"cuda.mean_loss", kernels::cuda::mean_loss, kernels::Backend::cuda},
                         {"reference", kernels::reference::mean_loss}}};
}

}  // namespace bessemer::ops

// What linear_cross_entropy does with the logits of a chunk of rows, where the products before and
// after it are made in tiles. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

// Arithmetic on each logit: maximum, exponential and sum; with the gradient an exponential again.
constexpr double kSoftmaxFlops = 40;

void check_rows(const Checker& check, std::size_t before) {
  const TensorType& logits = check.floating_of(0, 2);
  check.expect_dtype(0, sum_dtype(logits.dtype));
  check.expect(1, {DType::int32, {logits.dim(0)}});
  check.expect(before, {DType::fp64, {}});
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"logits", "targets", "before?"});
  check_rows(check, 2);
  return {{DType::fp64, {}}, {check.type(0).dtype, {check.type(0).dim(0)}}};
}

std::vector<TensorType> infer_train(const OpUse& use) {
  const Checker check(use, {"logits", "targets", "dloss", "before?"});
  check_rows(check, 3);
  check.expect(2, {check.type(0).dtype, {}});
  return {{DType::fp64, {}}, check.type(0)};
}

Work rows_work(const OpUse& use, std::span<const TensorType> results, double passes) {
  Work work = memory_work(use, results);
  work.vector_flops = passes * kSoftmaxFlops * static_cast<double>(use.operand(0).elements());
  return work;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  return rows_work(use, results, 1);
}

Work work_train(const OpUse& use, std::span<const TensorType> results) {
  return rows_work(use, results, 3);
}

}  // namespace

OpDefinition cross_entropy_rows_op() {
  return {.name = "cross_entropy_rows",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.cross_entropy_rows", kernels::cpu::cross_entropy_rows},
                         {"cuda.cross_entropy_rows", kernels::cuda::cross_entropy_rows,
                          kernels::Backend::cuda},
                         {"reference", kernels::reference::cross_entropy_rows}}};
}

OpDefinition cross_entropy_rows_train_op() {
  return {.name = "cross_entropy_rows_train",
          .infer = infer_train,
          .gradient = nullptr,
          .work = work_train,
          .sharding = nullptr,
          .candidates = {{"cpu.cross_entropy_rows_train", kernels::cpu::cross_entropy_rows_train},
                         {"cuda.cross_entropy_rows_train", kernels::cuda::cross_entropy_rows_train,
                          kernels::Backend::cuda},
                         {"reference", kernels::reference::cross_entropy_rows_train}},
          .in_place = {{0, 1}}};
}

}  // namespace bessemer::ops

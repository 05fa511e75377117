// Puts new rows into a key or value cache. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"cache", "update", "positions"});
  const TensorType& cache = check.floating_of(0, 4);
  const TensorType& update = check.floating_of(1, 4);
  check.expect(1, {cache.dtype, {cache.dim(0), update.dim(1), cache.dim(2), cache.dim(3)}});
  check.expect(2, {DType::int32, {cache.dim(0), update.dim(1)}});
  return {cache};
}

// In place, as caches are: only the new rows move.
Work work(const OpUse& use, std::span<const TensorType>) {
  const auto rows = static_cast<double>(use.operand(1).bytes());
  return {.bytes_read = rows + static_cast<double>(use.operand(2).bytes()), .bytes_written = rows};
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  return {split(use, {0, 0, 0}, {0}), split(use, {2, 2}, {2}), split(use, {3, 3}, {3})};
}

}  // namespace

OpDefinition cache_write_op() {
  return {.name = "cache_write",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.cache_write", kernels::cpu::cache_write},
                         {"cuda.cache_write", kernels::cuda::cache_write, kernels::Backend::cuda},
                         {"reference", kernels::reference::cache_write}},
          .in_place = {{0, 0}}};
}

}  // namespace bessemer::ops

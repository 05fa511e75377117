// Puts a value of the device where it is kept: whole, or as a range of a tensor that is there.
// Semantics: docs/ops.md.
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"
#include "ops/movement.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "into?"});
  const TensorType& x = check.type(0);
  if (!check.has(1)) return {x};
  const TensorType& into = check.type(1);
  const ElementRange range = stored_range(use.attributes, x);
  check.require_that(into.dtype == x.dtype && range.begin >= 0 && range.end <= into.elements(), 1,
                     "expected elements [{}, {}) of {} in it, found {}", range.begin, range.end,
                     name_of(x.dtype), to_string(into));
  return {into};
}

}  // namespace

ElementRange stored_range(const Attributes& attributes, const TensorType& x) {
  const std::int64_t begin = attributes.integer("begin", 0);
  return {begin, begin + x.elements()};
}

OpDefinition store_op() {
  return {.name = "store",
          .infer = infer,
          .gradient = nullptr,
          .work =
              [](const OpUse& use, std::span<const TensorType>) {
                const auto bytes = static_cast<double>(use.operand(0).bytes());
                return Work{.bytes_read = bytes, .bytes_written = bytes};
              },
          .sharding = nullptr,
          .candidates = {{"cuda.store", kernels::cuda::store, kernels::Backend::cuda},
                         {"reference", kernels::reference::store}},
          .in_place = {{1, 0}},
          .updates = 1};
}

}  // namespace bessemer::ops

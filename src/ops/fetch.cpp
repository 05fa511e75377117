// Brings a tensor, or a range of its elements, from where it lies to the device. Semantics:
// docs/ops.md.
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"
#include "ops/movement.h"

namespace bessemer::ops {
namespace {

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x"});
  TensorType y = check.type(0);
  if (use.attributes.find("begin") == nullptr && use.attributes.find("end") == nullptr) return {y};
  const ElementRange range = fetched_range(use.attributes, y);
  check.require_that(range.begin >= 0 && range.begin <= range.end && range.end <= y.elements(), 0,
                     "expected elements [{}, {}) of it, found {}", range.begin, range.end,
                     to_string(y));
  y.shape = {range.end - range.begin};
  return {y};
}

}  // namespace

ElementRange fetched_range(const Attributes& attributes, const TensorType& x) {
  return {attributes.integer("begin", 0), attributes.integer("end", x.elements())};
}

OpDefinition fetch_op() {
  return {.name = "fetch",
          .infer = infer,
          .gradient = nullptr,
          .work = copy_work,
          .sharding = nullptr,
          .candidates = {{"cuda.fetch", kernels::cuda::fetch, kernels::Backend::cuda},
                         {"reference", kernels::reference::fetch}}};
}

}  // namespace bessemer::ops

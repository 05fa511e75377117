// Sums of many pairs of tensors. Semantics: docs/ops.md.
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

constexpr int kMostSums = 1024;  // whose places in the results are listed

std::vector<TensorType> infer(const OpUse& use) {
  const std::size_t operands = use.operands.size();
  require(operands > 0 && operands % 2 == 0 && operands / 2 <= kMostSums,
          "{} operands, expected two for each of at most {} sums", operands, kMostSums);
  std::vector<TensorType> sums;
  for (std::size_t i = 0; i < operands; i += 2) {
    const TensorType &a = use.operand(i), &b = use.operand(i + 1);
    require(is_floating(a.dtype), "operand {} (a{}): expected a floating dtype, found {}", i, i / 2,
            to_string(a));
    require(b == a, "operand {} (b{}): expected {} as a{}, found {}", i + 1, i / 2, to_string(a),
            i / 2, to_string(b));
    sums.push_back(a);
  }
  return sums;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  double elements = 0;
  for (const TensorType& sum : results) elements += static_cast<double>(sum.elements());
  return memory_work(use, results, elements);
}

std::vector<std::pair<int, int>> places_of_all() {
  std::vector<std::pair<int, int>> pairs;
  for (int i = 0; i < kMostSums; ++i) pairs.emplace_back(2 * i, i);
  return pairs;
}

}  // namespace

OpDefinition add_all_op() {
  return {.name = "add_all",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // a part of each sum would be split in its own way
          .candidates = {{"cuda.add_all", kernels::cuda::add_all, kernels::Backend::cuda},
                         {"reference", kernels::reference::add_all}},
          .in_place = places_of_all()};
}

}  // namespace bessemer::ops

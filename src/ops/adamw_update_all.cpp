// One step of AdamW on many parameters, each as adamw_update does it. Semantics: docs/ops.md.
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/adamw.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

constexpr std::size_t kScalars = 3;   // learning_rate, step, coefficient
constexpr int kMostTensors = 1024;    // whose places in the results are listed
constexpr std::size_t kOfTensor = 4;  // parameter, gradient, m, v

std::size_t tensors_of(const OpUse& use) {
  const std::size_t operands = use.operands.size();
  require(operands > kScalars && (operands - kScalars) % kOfTensor == 0,
          "{} operands, expected three scalars and four for each parameter", operands);
  const std::size_t tensors = (operands - kScalars) / kOfTensor;
  require(tensors <= kMostTensors, "{} parameters, {} at most", tensors, kMostTensors);
  return tensors;
}

// A list attribute with a number for each parameter.
std::vector<std::int64_t> numbers_of(const OpUse& use, const char* name, std::size_t tensors) {
  std::vector<std::int64_t> numbers = use.attributes.integers(name);
  require(numbers.size() == tensors, "attribute '{}' has {} elements for {} parameters", name,
          numbers.size(), tensors);
  return numbers;
}

// The use of adamw_update that tensor `i` is.
OpUse one_of(const OpUse& use, std::size_t i, bool decays, bool has_weight) {
  OpUse one{{}, use.attributes};
  const auto first = use.operands.begin() + static_cast<std::ptrdiff_t>(kScalars + kOfTensor * i);
  one.operands.assign(first, first + kOfTensor);
  one.operands.insert(one.operands.end(), use.operands.begin(), use.operands.begin() + kScalars);
  if (!decays) one.attributes.set("weight_decay", 0.0);
  if (!has_weight) one.attributes.erase("weight");
  const auto sites = use.attributes.integers("sites", std::vector<std::int64_t>());
  if (!sites.empty()) one.attributes.set("site", sites.at(i));
  return one;
}

std::vector<TensorType> infer(const OpUse& use) {
  const std::size_t tensors = tensors_of(use);
  const auto decays = numbers_of(use, "decays", tensors),
             weights = numbers_of(use, "weights", tensors);
  if (use.attributes.find("sites") != nullptr) numbers_of(use, "sites", tensors);
  const InferFn infer_one = definition_of("adamw_update").infer;
  std::vector<TensorType> results, rounded;
  for (std::size_t i = 0; i < tensors; ++i) {
    const std::size_t parameter = kScalars + kOfTensor * i;
    require(use.operand(parameter).dtype == use.operand(kScalars).dtype,
            "operand {} (parameter {}): expected {} as the first one, found {}", parameter, i,
            name_of(use.operand(kScalars).dtype), to_string(use.operand(parameter)));
    const auto of_one = infer_one(one_of(use, i, decays[i] != 0, weights[i] != 0));
    results.insert(results.end(), of_one.begin(), of_one.begin() + 3);
    rounded.insert(rounded.end(), of_one.begin() + 3, of_one.end());
  }
  results.insert(results.end(), rounded.begin(), rounded.end());
  return results;
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  double elements = 0;
  for (std::size_t i = 0; i < tensors_of(use); ++i) {
    elements += static_cast<double>(results[3 * i].elements());
  }
  return memory_work(use, results, adamw_flops(results[0].dtype) * elements);
}

std::vector<std::pair<int, int>> places_of_all() {
  std::vector<std::pair<int, int>> pairs;
  for (int i = 0; i < kMostTensors; ++i) {
    const int operand = static_cast<int>(kScalars) + static_cast<int>(kOfTensor) * i;
    pairs.insert(pairs.end(),
                 {{operand, 3 * i}, {operand + 2, 3 * i + 1}, {operand + 3, 3 * i + 2}});
  }
  return pairs;
}

}  // namespace

OpDefinition adamw_update_all_op() {
  return {.name = "adamw_update_all",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,  // a part of each parameter would be split in its own way
          .candidates = {{"cuda.adamw_update_all", kernels::cuda::adamw_update_all,
                          kernels::Backend::cuda},
                         {"reference", kernels::reference::adamw_update_all}},
          .in_place = places_of_all()};
}

}  // namespace bessemer::ops

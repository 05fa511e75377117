// Runs one op of the table on test tensors: through one candidate, or through the reference.
#pragma once

#include <string>
#include <vector>

#include "ops/op.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {

inline ops::OpUse use_of(const Operands& operands, const Attributes& attributes) {
  ops::OpUse use{{}, attributes};
  for (const auto& operand : operands) {
    use.operands.push_back(operand ? std::optional(operand->type()) : std::nullopt);
  }
  return use;
}

inline std::vector<TensorType> infer_types(std::string_view op, const Operands& operands,
                                           const Attributes& attributes) {
  return ops::definition_of(op).infer(use_of(operands, attributes));
}

/// Runs `candidate` of `op`; results of the inferred types. `share` as in run_kernel.
inline KernelRun run_candidate(const ops::OpDefinition& op,
                               const kernels::KernelCandidate& candidate, const Operands& operands,
                               const Attributes& attributes,
                               const std::vector<std::pair<int, int>>& share = {}) {
  const auto types = infer_types(op.name, operands, attributes);
  if (candidate.backend == kernels::Backend::cuda) {
    return run_cuda_kernel(candidate.prepare, operands, types, attributes, share);
  }
  return run_kernel(candidate.prepare, operands, types, attributes, 0, share);
}

/// Runs the reference; Error where it declines, which it must not.
inline std::vector<Tensor> run_reference(std::string_view name, const Operands& operands,
                                         const Attributes& attributes = {}) {
  const ops::OpDefinition& op = ops::definition_of(name);
  KernelRun run = run_candidate(op, op.candidates.back(), operands, attributes);
  require(!run.declined, "the reference of {} declined: {}", name, run.declined.value_or(""));
  return std::move(run.results);
}

}  // namespace bessemer::testing

// Runs one prepared kernel on test tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/arena.h"
#include "kernels/kernel.h"
#include "support/cuda_device.h"
#include "support/tensor.h"

namespace bessemer::testing {

using PrepareFn = kernels::Prepared (*)(const kernels::KernelRequest&);
using Operands = std::vector<std::optional<Tensor>>;

struct KernelRun {
  std::optional<std::string> declined;  // the reason
  std::vector<Tensor> results;
};

/// Prepares and runs. Results start filled with 0xAB so that an unwritten element shows; `misalign`
/// shifts them by that many elements. `share[r] = a` makes result r live in operand a's buffer.
inline KernelRun run_kernel(PrepareFn prepare, const Operands& operands,
                            const std::vector<TensorType>& result_types,
                            const Attributes& attributes = {}, std::size_t misalign = 0,
                            const std::vector<std::pair<int, int>>& share = {}) {
  std::vector<std::optional<TensorType>> operand_types;
  for (const auto& operand : operands) {
    operand_types.push_back(operand ? std::optional(operand->type()) : std::nullopt);
  }
  const kernels::Machine machine = kernels::Machine::detect();
  kernels::Prepared prepared = prepare({operand_types, result_types, attributes, machine});
  if (auto* refusal = std::get_if<kernels::Declined>(&prepared)) return {refusal->reason, {}};
  const auto& kernel = std::get<std::unique_ptr<const kernels::Kernel>>(prepared);

  Operands copies =
      operands;  // a kernel must not see the caller's buffers: sharing would spoil them
  KernelRun run;
  for (const TensorType& type : result_types) {
    run.results.emplace_back(type, misalign);
    std::memset(run.results.back().data(), 0xAB, type.bytes());
  }
  std::vector<const void*> operand_pointers;
  for (auto& operand : copies) operand_pointers.push_back(operand ? operand->data() : nullptr);
  std::vector<void*> result_pointers;
  for (auto& result : run.results) result_pointers.push_back(result.data());
  for (const auto& [result, operand] : share) result_pointers[result] = copies[operand]->data();

  const Arena scratch(kernel->scratch_bytes());
  kernel->run({operand_pointers, result_pointers, scratch.data()});
  for (const auto& [result, operand] : share) run.results[result] = *copies[operand];
  return run;
}

/// The same for a kernel of the CUDA backend, on tests' own device.
inline KernelRun run_cuda_kernel(PrepareFn prepare, const Operands& operands,
                                 const std::vector<TensorType>& result_types,
                                 const Attributes& attributes = {},
                                 const std::vector<std::pair<int, int>>& share = {}) {
  if (cuda_device() == nullptr) return {why_no_cuda_device(), {}};
  std::vector<std::optional<TensorType>> operand_types;
  for (const auto& operand : operands) {
    operand_types.push_back(operand ? std::optional(operand->type()) : std::nullopt);
  }
  kernels::Machine machine = kernels::Machine::detect();
  machine.device = kernels::Backend::cuda;
  machine.compute_capability = cuda_device()->properties().compute_capability;
  kernels::Prepared prepared = prepare({operand_types, result_types, attributes, machine});
  if (auto* refusal = std::get_if<kernels::Declined>(&prepared)) return {refusal->reason, {}};
  const auto& kernel = std::get<std::unique_ptr<const kernels::Kernel>>(prepared);

  std::vector<std::unique_ptr<OnDevice>> lent, made;
  std::vector<const void*> operand_pointers;
  for (const auto& operand : operands) {
    const auto* bytes = operand ? operand->data() : nullptr;
    lent.push_back(std::make_unique<OnDevice>(bytes, operand ? operand->type().bytes() : 0));
    operand_pointers.push_back(lent.back()->data());
  }
  KernelRun run;
  std::vector<void*> result_pointers;
  for (const TensorType& type : result_types) {
    run.results.emplace_back(type);
    std::memset(run.results.back().data(), 0xAB, type.bytes());
    made.push_back(std::make_unique<OnDevice>(run.results.back().data(), type.bytes()));
    result_pointers.push_back(made.back()->data());
  }
  for (const auto& [result, operand] : share) result_pointers[result] = lent[operand]->data();
  const OnDevice scratch(nullptr, kernel->scratch_bytes());
  kernel->load();
  kernel->run({operand_pointers, result_pointers, scratch.data(), cuda_stream()});
  cuda_device()->synchronize(cuda_stream());
  for (std::size_t r = 0; r < made.size(); ++r) made[r]->read(run.results[r].data());
  for (const auto& [result, operand] : share) lent[operand]->read(run.results[result].data());
  return run;
}

}  // namespace bessemer::testing

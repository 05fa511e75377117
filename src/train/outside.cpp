#include "train/outside.h"

#include <algorithm>

#include "checkpoint/background_writer.h"

namespace bessemer::train {
namespace {

// Code of the kernels, thread stacks and small heaps, which become resident at their first use:
// measured over the runs of tests/cli/memory_test.cpp.
constexpr std::size_t kFirstUse = std::size_t{1} << 20;

// What checkpoints are written from: a copy of all, or one tensor of the file tier at a time.
std::size_t checkpoint_bytes(const plan::Plan& plan) {
  const std::vector<checkpoint::TensorSpec> specs = specs_to_save(plan);
  if (saves_from_copy(plan)) return checkpoint::BackgroundWriter::snapshot_bytes(specs);
  std::size_t largest = 0;
  for (const checkpoint::TensorSpec& spec : specs) {
    const bool in_file = plan.find_tensor(spec.name)->tier == ir::Tier::file;
    if (in_file) largest = std::max(largest, spec.type.bytes());
  }
  return largest;
}

// Two steps' batches, one in use and one in the making, and one micro-batch of validation: tokens,
// targets, positions and the two ends of visibility of each token.
std::size_t batch_bytes(const config::RunConfig& config, const CompiledRun& run) {
  constexpr std::int64_t kPerToken = 5 * sizeof(std::int32_t);
  const std::int64_t validation = config.train.evaluate_every > 0 ? 1 : 0;
  const std::int64_t micro_batches = 2 * run.micro_batches + validation;
  return static_cast<std::size_t>(micro_batches * config.train.micro_batch_size *
                                  config.data.sequence_length * kPerToken);
}

}  // namespace

std::vector<plan::OutsideEntry> outside_arena(const config::RunConfig& config,
                                              const CompiledRun& run, std::size_t resident_now) {
  using How = plan::OutsideEntry::How;
  std::vector<plan::OutsideEntry> entries;
  if (config.checkpoint.every > 0) {
    entries.push_back(
        {"copy to write checkpoints from", checkpoint_bytes(run.plan), How::computed});
  }
  entries.push_back({"batches, one step ahead", batch_bytes(config, run), How::computed});
  entries.push_back({"program, libraries, tokenizer, plan", resident_now, How::measured});
  entries.push_back({"code and stacks at their first use", kFirstUse, How::allowance});
  return entries;
}

}  // namespace bessemer::train

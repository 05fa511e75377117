#include "train/outside.h"

#include <algorithm>

#include <fmt/format.h>

#include "checkpoint/background_writer.h"
#include "data/row.h"
#include "train/delivery.h"
#include "train/source_memory.h"

namespace bessemer::train {
namespace {

// Code of the kernels, thread stacks and small heaps, which become resident at their first use:
// measured over the runs of tests/cli/memory_test.cpp.
constexpr std::size_t kFirstUse = std::size_t{1} << 20;

// What the executor holds beside its arenas: of each instruction the addresses of its operands and
// results, and what it needs to find them.
std::size_t binding_bytes(const plan::Plan& plan) {
  constexpr std::size_t kInstruction = 128, kAddress = sizeof(void*);
  std::size_t bytes = 0;
  for (const plan::Program& program : plan.programs) {
    for (const plan::Instruction& i : program.instructions) {
      bytes += kInstruction + kAddress * (i.operands.size() + i.results.size());
    }
  }
  return bytes;
}

// Two threads that move values, and for each the blocks that unaligned ends of files go through.
std::size_t transfer_bytes(const plan::Plan& plan) {
  constexpr std::size_t kStack = std::size_t{64} << 10, kBlocks = std::size_t{256} << 10;
  const bool file = plan.bytes(ir::Tier::file) > 0;
  if (!file && plan.bytes(ir::Tier::host) == 0) return 0;
  return 2 * (kStack + (file ? kBlocks : 0));
}

// What checkpoints are written from: a copy of all, or one tensor at a time of those that are not
// in this process's memory.
std::size_t checkpoint_bytes(const plan::Plan& plan) {
  const std::vector<checkpoint::TensorSpec> specs = specs_to_save(plan);
  if (saves_from_copy(plan)) return checkpoint::BackgroundWriter::snapshot_bytes(specs);
  std::size_t largest = 0;
  for (const checkpoint::TensorSpec& spec : specs) {
    const ir::Tier tier = plan.find_tensor(spec.name)->tier;
    const bool device_of_its_own = plan.machine.device_memory > 0 && tier == ir::Tier::device;
    if (tier == ir::Tier::file || device_of_its_own) largest = std::max(largest, spec.type.bytes());
  }
  return largest;
}

// A step's batch, and one micro-batch of validation.
std::size_t batch_bytes(const config::RunConfig& config, const CompiledRun& run) {
  const std::int64_t validation = config.train.evaluate_every > 0 ? 1 : 0;
  const std::int64_t rows = (run.micro_batches + validation) * run.micro_batch_size;
  return static_cast<std::size_t>(rows) * data::row_bytes(config.data.sequence_length);
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
  entries.push_back({"batches", batch_bytes(config, run), How::computed});
  entries.push_back({"sequences read ahead", row_memory(config), How::computed});
  if (const std::size_t bytes = raw_source_memory(config)) {
    entries.push_back({"sources tokenized on the fly", bytes, How::allowance});
  }
  if (const WorkerProcesses workers = worker_processes(config, run.architecture.vocabulary);
      workers.most > 0) {
    entries.push_back({fmt::format("data workers, {} processes at most", workers.most),
                       workers.bytes, How::allowance});
  }
  entries.push_back({"addresses of instructions", binding_bytes(run.plan), How::computed});
  if (const std::size_t bytes = transfer_bytes(run.plan)) {
    entries.push_back({"threads and blocks of transfers", bytes, How::computed});
  }
  entries.push_back({"program, libraries, tokenizer, plan", resident_now, How::measured});
  entries.push_back({"code and stacks at their first use", kFirstUse, How::allowance});
  return entries;
}

}  // namespace bessemer::train

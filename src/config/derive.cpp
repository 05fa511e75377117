// Members of a RunConfig that follow from others.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "config/run_config.h"

namespace bessemer::config {
namespace {

void derive_sources(DataConfig& data) {
  for (DataSource& source : data.sources) {
    if (!source.name.empty()) continue;
    const std::string file = source.path.filename().string();
    source.name = file.substr(0, file.find('.', 1));
  }
}

void derive_schedule(OptimizerConfig& optimizer, std::int64_t steps) {
  if (!optimizer.warmup_steps) optimizer.warmup_steps = steps / 50;
  if (optimizer.decay_steps) return;
  const std::int64_t left = std::max<std::int64_t>(0, steps - *optimizer.warmup_steps);
  switch (optimizer.schedule) {
    case Schedule::constant: optimizer.decay_steps = 0; break;
    case Schedule::linear:
    case Schedule::cosine: optimizer.decay_steps = left; break;
    case Schedule::wsd: optimizer.decay_steps = std::min(left, steps / 5); break;
  }
}

}  // namespace

void fill_derived(RunConfig& config) {
  auto& [model, data, train, optimizer, precision, checkpoint, memory, parallel, log, run] = config;
  derive_sources(data);
  if (!data.seed) data.seed = run.seed;
  if (!data.vocabulary && !data.tokenizer && !model.from) data.vocabulary = 8192;
  if (!data.workers) data.workers = Workers::threads;
  if (!data.worker_count) data.worker_count = 4;
  if (!data.worker_timeout) data.worker_timeout = 60;
  if (!data.prefetch_bytes) data.prefetch_bytes = Bytes{std::uint64_t{16} << 20};
  if (!data.balance) data.balance = Balance::karmarkar_karp;
  if (train.name.empty()) train.name = "run";
  if (!train.global_batch_size) train.global_batch_size = train.micro_batch_size.value_or(1);
  if (!optimizer.min_learning_rate) optimizer.min_learning_rate = optimizer.learning_rate / 10;
  if (!memory.recompute) {
    const bool resident = memory.policy == MemoryPolicy::resident;
    memory.recompute = resident ? Recompute::none : Recompute::automatic;
  }
  if (!memory.offload && memory.policy == MemoryPolicy::resident) memory.offload.emplace();
  if (train.steps || train.max_tokens) derive_schedule(optimizer, total_steps(config));
}

std::int64_t total_steps(const RunConfig& config) {
  const TrainConfig& train = config.train;
  require(train.steps || train.max_tokens, "total_steps: neither train.steps nor train.max_tokens");
  const std::int64_t tokens_per_step =
      train.global_batch_size.value_or(train.micro_batch_size.value_or(1)) *
      config.data.sequence_length;
  require(tokens_per_step > 0, "total_steps: a step of {} tokens", tokens_per_step);
  std::int64_t steps = train.steps.value_or(std::numeric_limits<std::int64_t>::max());
  if (train.max_tokens) {
    const std::int64_t whole = *train.max_tokens / tokens_per_step;
    steps = std::min(steps, whole + (*train.max_tokens % tokens_per_step != 0 ? 1 : 0));
  }
  return steps;
}

}  // namespace bessemer::config

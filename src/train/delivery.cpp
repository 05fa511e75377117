#include "train/delivery.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "config/parse.h"
#include "data/row_process.h"
#include "models/architecture.h"
#include "train/compile.h"

namespace bessemer::train {
namespace {

data::Balance balance_of(config::Balance balance) {
  switch (balance) {
    case config::Balance::round_robin: return data::Balance::round_robin;
    case config::Balance::greedy: return data::Balance::greedy;
    case config::Balance::karmarkar_karp: return data::Balance::karmarkar_karp;
  }
  fail("a method of balancing without a name");
}

std::vector<data::SourceName> names_of(const Corpus& corpus) {
  std::vector<data::SourceName> names;
  for (const TrainingSource& source : corpus.sources) {
    names.push_back({source.name, source.raw ? source.raw->source().options().source.path
                                             : data::bin_path(source.prefix).string()});
  }
  return names;
}

data::WorkerPolicy policy_of(const config::DataConfig& data) {
  data::WorkerPolicy policy;
  policy.timeout =
      std::chrono::milliseconds(static_cast<std::int64_t>(1000 * *data.worker_timeout) + 1);
  return policy;
}

}  // namespace

std::int64_t token_pairs(const config::RunConfig& config, const models::Architecture& a,
                         const cost::MachineDescription& machine) {
  const DType compute = compute_dtype(config.precision.recipe);
  const double token = models::training_flops_per_token(a, 0) / machine.layer_flops(compute);
  constexpr int kFlops = 14;  // of a pair and a number of a head: two products forward, five back
  const auto numbers = static_cast<double>(a.layers * a.heads * a.head_dim);
  const double pair = kFlops * numbers / machine.attention_flops(compute);
  return std::max<std::int64_t>(1, std::llround(token / pair));
}

data::PlannerOptions planner_options(const config::RunConfig& config, const RankShape& shape) {
  require(config.data.token_pairs.has_value(), "what a token costs is not settled");
  const std::int64_t sequences = *config.train.global_batch_size;
  const std::int64_t part = shape.ranks * shape.micro_batch_size;
  require_input(part > 0 && sequences % part == 0,
                "a global batch of {} sequences does not divide into micro-batches of {} on {} "
                "ranks",
                sequences, shape.micro_batch_size, shape.ranks);
  require_input(shape.rank >= 0 && shape.rank < shape.ranks, "rank {} of {}: they count from 0",
                shape.rank, shape.ranks);
  return {{shape.ranks, sequences / part, shape.micro_batch_size},
          balance_of(*config.data.balance),
          {static_cast<double>(*config.data.token_pairs), 1}};
}

data::LoaderOptions loader_options(const config::RunConfig& config, const Corpus& corpus,
                                   const RankShape& shape, std::uint64_t first_sequence) {
  const data::PlannerOptions planner = planner_options(config, shape);
  data::LoaderOptions options;
  options.micro_batch_size = shape.micro_batch_size;
  options.micro_batches = planner.shape.micro_batches;
  options.rank = shape.rank;
  options.ranks = shape.ranks;
  options.first_sequence = first_sequence;
  options.balance = planner.balance;
  options.cost = planner.cost;
  options.node.prefetch_bytes = config.data.prefetch_bytes->count;
  options.node.workers = policy_of(config.data);
  for (const config::DataSource& source : config.data.sources) {
    options.node.most_workers.push_back(most_workers(config.data, source));
  }
  options.node.names = names_of(corpus);
  if (*config.data.workers == config::Workers::threads) return options;
  options.node.make_reader = [text = config::to_toml(config), ids = corpus.ids(),
                              length = config.data.sequence_length](std::uint32_t source) {
    data::RowProgram program{"/proc/self/exe",
                             {"data", "serve", std::to_string(source),
                              std::to_string(ids.end_of_text), std::to_string(ids.vocabulary)},
                             text};
    return std::make_shared<data::ProcessReader>(std::move(program), length);
  };
  return options;
}

int most_workers(const config::DataConfig& data, const config::DataSource& source) {
  const bool alone = *data.workers == config::Workers::processes && is_raw(source);
  return alone ? 1 : static_cast<int>(*data.worker_count);
}

std::size_t row_memory(const config::RunConfig& config) {
  const std::size_t row = data::row_bytes(config.data.sequence_length);
  const auto step = static_cast<std::size_t>(*config.train.global_batch_size);
  const std::size_t ahead =
      data::prefetch_bounds(step, 1, row, config.data.prefetch_bytes->count).most;
  std::size_t workers = 0;
  for (const config::DataSource& source : config.data.sources) {
    workers += static_cast<std::size_t>(most_workers(config.data, source));
  }
  return (ahead + workers) * row;
}

void serve_source(std::size_t source, const TokenIds& ids) {
  set_thread_count(1);
  log::set_level(log::Level::error);  // the trainer has said the rest
  data::serve_rows([source, ids] {
    const std::string file = fmt::format("/proc/self/fd/{}", data::kDescriptionDescriptor);
    return open_training_source(config::load_run_config(file), source, ids);
  });
}

}  // namespace bessemer::train

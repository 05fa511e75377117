#include "train/run_compiler.h"

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "base/error.h"
#include "models/model.h"
#include "passes/hoist_weights.h"
#include "passes/recompute.h"
#include "plan/recompute_to_fit.h"
#include "plan/report.h"
#include "train/offload.h"

namespace bessemer::train {
namespace {

constexpr std::size_t kLevelsOffDevice = 12;

passes::RecomputePolicy policy_of(config::Recompute recompute) {
  switch (recompute) {
    case config::Recompute::full: return passes::RecomputePolicy::full;
    case config::Recompute::selective: return passes::RecomputePolicy::selective;
    case config::Recompute::none:
    case config::Recompute::automatic: break;  // automatic: by the level, from frontiers
  }
  return passes::RecomputePolicy::none;
}

passes::StepOptions step_options(const config::RunConfig& config, std::int64_t micro_batches,
                                 config::Recompute recompute) {
  passes::StepOptions options;
  options.recipe =
      config.precision.recipe == config::Recipe::bf16 ? passes::Recipe::bf16 : passes::Recipe::fp32;
  options.stash = config.precision.stash == config::Stash::int8 ? passes::StashFormat::int8
                                                                : passes::StashFormat::same;
  options.accumulates = micro_batches > 1;
  options.recompute = policy_of(recompute);
  options.optimizer = {config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon,
                       config.optimizer.weight_decay, config.optimizer.gradient_clip};
  return options;
}

bool is_accumulate(const std::string& program) { return program.starts_with("accumulate"); }

// What choose_tiers says of the graphs' inputs, in graphs of inputs alone.
std::vector<ir::Graph> inputs_in_tiers(const std::vector<const ir::Graph*>& graphs,
                                       const passes::TierMap& tiers) {
  std::vector<ir::Graph> shells;
  for (const ir::Graph* graph : graphs) {
    ir::Graph& shell = shells.emplace_back(graph->name());
    for (const ir::Input& input : graph->inputs()) {
      const ir::ValueId value = shell.add_input(input.role, input.name, graph->type(input.value));
      if (const auto at = tiers.find(input.name); at != tiers.end()) {
        shell.value(value).tier = at->second;
      }
    }
  }
  return shells;
}

std::vector<const ir::Graph*> pointers_to(const std::vector<ir::Graph>& graphs) {
  std::vector<const ir::Graph*> pointers;
  for (const ir::Graph& graph : graphs) pointers.push_back(&graph);
  return pointers;
}

}  // namespace

// The graphs of a micro-batch size under a policy; `automatic` starts from keeping everything.
struct RunCompiler::Graphs {
  std::int64_t micro_batches = 1;
  std::int64_t sample_cache = 0;
  std::vector<ir::Graph> all;  // in the order of the plan
  // Found when first asked for: frontiers by index in `all`, of the accumulate graphs, and what
  // transients may take at each level, falling.
  std::map<std::size_t, std::vector<passes::RecomputePoint>> frontiers;
  std::vector<std::size_t> targets;
};

struct RunCompiler::ProgramPrice {
  double seconds = 0;
  std::array<std::size_t, ir::kTiers> transients{};
  std::map<std::string, int> operations;
};

// What a program depends on; members that it does not depend on are left as they are.
struct RunCompiler::PriceKey {
  std::string program;
  Way way;
  auto operator<=>(const PriceKey&) const = default;
};

RunCompiler::RunCompiler(config::RunConfig config, models::Architecture architecture,
                         cost::MachineDescription machine, passes::Runner& runner)
    : config_(std::move(config)),
      architecture_(std::move(architecture)),
      machine_(std::move(machine)),
      runner_(runner) {}

RunCompiler::~RunCompiler() = default;

RunCompiler::Graphs& RunCompiler::graphs(const Way& way) {
  const bool by_level = way.recompute == config::Recompute::automatic;
  std::unique_ptr<Graphs>& known =
      graphs_[{way.micro_batch_size, by_level ? config::Recompute::none : way.recompute}];
  if (known) return *known;
  auto made = std::make_unique<Graphs>();
  made->micro_batches = *config_.train.global_batch_size / way.micro_batch_size;
  const models::BatchShape shape{way.micro_batch_size, config_.data.sequence_length};
  models::Architecture without_dropout = architecture_;
  without_dropout.dropout = 0;
  const passes::StepOptions options = step_options(config_, made->micro_batches, way.recompute);
  passes::StepGraphs step =
      passes::compile_step(models::loss_graph(architecture_, shape),
                           models::loss_graph(without_dropout, shape), options, runner_);
  GenerationGraphs generation;
  if (config_.train.sample_every > 0) {
    made->sample_cache =
        std::min(architecture_.context, config_.data.sequence_length + config_.train.sample_tokens);
    generation = generation_graphs(without_dropout, options.recipe, made->sample_cache, runner_);
    step.refresh = passes::merge_refresh(std::move(step.refresh), generation.refresh);
  }
  // A refresh without nodes would be a program that does nothing.
  if (!step.refresh.nodes().empty()) made->all.push_back(std::move(step.refresh));
  made->all.push_back(std::move(step.accumulate_first));
  if (step.accumulate) made->all.push_back(std::move(*step.accumulate));
  made->all.push_back(std::move(step.update));
  if (step.evaluate) made->all.push_back(std::move(*step.evaluate));
  if (made->sample_cache > 0) {
    made->all.push_back(std::move(generation.prefill));
    made->all.push_back(std::move(generation.decode));
  }
  known = std::move(made);
  return *known;
}

const std::vector<std::size_t>& RunCompiler::targets(const Way& way) {
  Graphs& made = graphs(way);
  if (!made.targets.empty()) return made.targets;
  std::set<std::size_t, std::greater<>> peaks;
  for (std::size_t i = 0; i < made.all.size(); ++i) {
    if (!is_accumulate(made.all[i].name())) continue;
    made.frontiers[i] = plan::recompute_frontier(made.all[i], machine_);
    for (const passes::RecomputePoint& point : made.frontiers[i]) peaks.insert(point.peak_bytes);
  }
  made.targets.assign(peaks.begin(), peaks.end());
  return made.targets;
}

std::vector<std::size_t> RunCompiler::levels(const Way& way) {
  if (way.recompute != config::Recompute::automatic) return {0};
  const std::size_t count = targets(way).size();
  // The frontier knows nothing of what waits for its transport: where values move, its choices are
  // planned one after the other.
  const std::size_t stride =
      way.offload.empty() ? 1 : (count + kLevelsOffDevice - 1) / kLevelsOffDevice;
  std::vector<std::size_t> levels;
  if ((count - 1) % stride != 0) levels.push_back(0);
  for (std::size_t i = (count - 1) % stride; i < count; i += stride) levels.push_back(i);
  return levels;
}

// The run's graphs, the accumulate graphs at the level of the way.
std::vector<ir::Graph> RunCompiler::recomputed(const Way& way) {
  std::vector<ir::Graph> all = graphs(way).all;
  if (way.level == 0) return all;
  const std::size_t target = targets(way).at(way.level);
  for (const auto& [i, frontier] : graphs(way).frontiers) {
    const passes::RecomputePoint& point = passes::cheapest_within(frontier, target);
    all[i] = passes::recompute(std::move(all[i]), point.kept);
  }
  return all;
}

passes::OffloadOptions RunCompiler::offload_options_of(const Way& way) const {
  config::MemoryConfig memory = config_.memory;
  memory.offload = way.offload;
  return offload_options(memory);
}

const RunCompiler::ProgramPrice& RunCompiler::price(const Way& way, const std::string& program) {
  PriceKey key{program, way};
  if (!is_accumulate(program)) {
    key.way.recompute = config::Recompute::none;
    key.way.level = 0;
    if (program != "evaluate") key.way.micro_batch_size = 0;
  }
  const auto [at, fresh] = prices_.try_emplace(key);
  if (!fresh) return at->second;
  Graphs& made = graphs(way);
  const auto same = [&](const ir::Graph& graph) { return graph.name() == program; };
  const auto found = std::find_if(made.all.begin(), made.all.end(), same);
  if (found == made.all.end()) return at->second;  // takes nothing
  ir::Graph graph = *found;
  if (way.level > 0 && is_accumulate(program)) {
    const auto index = static_cast<std::size_t>(found - made.all.begin());
    const std::size_t target = targets(way).at(way.level);
    graph = passes::recompute(std::move(graph),
                              passes::cheapest_within(made.frontiers.at(index), target).kept);
  }
  if (!way.offload.empty()) {
    const passes::OffloadOptions options = offload_options_of(way);
    const passes::TierMap tiers = passes::choose_tiers(pointers_to(made.all), options);
    graph = passes::offload(std::move(graph), tiers, options, machine_);
  }
  const plan::Plan planned = plan::make_plan({&graph}, machine_);
  const plan::Program& lowered = planned.programs[0];
  at->second = {lowered.predicted_seconds(),
                {lowered.transient_bytes, lowered.host.bytes, lowered.file.bytes},
                {}};
  for (const plan::Instruction& i : lowered.instructions) ++at->second.operations[i.op];
  return at->second;
}

std::array<std::size_t, ir::kTiers> RunCompiler::standing_bytes(const Way& way) {
  const auto [at, fresh] = standing_.try_emplace({way.micro_batch_size, way.offload});
  if (fresh) {
    const std::vector<const ir::Graph*> all = pointers_to(graphs(way).all);
    const std::vector<ir::Graph> shells =
        inputs_in_tiers(all, passes::choose_tiers(all, offload_options_of(way)));
    at->second = plan::standing_bytes(pointers_to(shells));
  }
  return at->second;
}

Price RunCompiler::price(const Way& way) {
  const Graphs& made = graphs(way);
  Price sum{standing_bytes(way), 0};
  std::array<std::size_t, ir::kTiers> most{};
  for (const ir::Graph& graph : made.all) {
    const ProgramPrice& program = price(way, graph.name());
    for (std::size_t t = 0; t < most.size(); ++t) {
      most[t] = std::max(most[t], program.transients[t]);
    }
  }
  for (std::size_t t = 0; t < most.size(); ++t) sum.bytes[t] += most[t];
  sum.step_seconds = plan::step_seconds(
      made.micro_batches, [&](const std::string& name) { return price(way, name).seconds; });
  return sum;
}

std::map<std::string, int> RunCompiler::operations(const Way& way) {
  std::map<std::string, int> count;
  for (const ir::Graph& graph : graphs(way).all) {
    if (!is_accumulate(graph.name())) continue;
    for (const auto& [op, n] : price(way, graph.name()).operations) count[op] += n;
  }
  return count;
}

Way RunCompiler::fit(Way way, const config::MemoryConfig& budgets) {
  way.level = 0;
  if (fits(budgets, price(way).bytes)) return way;
  Way smallest = way;
  std::vector<std::size_t> levels = this->levels(way);
  // Where nothing moves, bytes are known before anything is planned.
  if (way.offload.empty() && levels.size() > 1) {
    const std::size_t standing = standing_bytes(way)[0], budget = device_budget(budgets);
    const auto too_much = [&](std::size_t level) {
      return standing + targets(way)[level] > budget && level + 1 < levels.size();
    };
    levels.erase(levels.begin(), std::partition_point(levels.begin(), levels.end(), too_much));
  }
  for (const std::size_t level : levels) {
    way.level = level;
    const Price taken = price(way);
    if (fits(budgets, taken.bytes)) return way;
    if (taken.device_bytes() < price(smallest).device_bytes()) smallest = way;
  }
  return smallest;
}

CompiledRun RunCompiler::compile(const Way& way) {
  CompiledRun run;
  const Graphs& made = graphs(way);
  run.architecture = architecture_;
  run.micro_batch_size = way.micro_batch_size;
  run.micro_batches = made.micro_batches;
  run.sample_cache = made.sample_cache;
  config::MemoryConfig memory = config_.memory;
  memory.offload = way.offload;
  const std::vector<ir::Graph> all = recomputed(way);
  run.plan = plan_in_tiers(pointers_to(all), memory, machine_, runner_);
  return run;
}

}  // namespace bessemer::train

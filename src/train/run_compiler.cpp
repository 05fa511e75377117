#include "train/run_compiler.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/rounding.h"
#include "models/model.h"
#include "passes/chunk.h"
#include "passes/hoist_weights.h"
#include "passes/recompute.h"
#include "passes/step_programs.h"
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
                                 config::Recompute recompute, kernels::Backend device) {
  passes::StepOptions options;
  options.device = device;
  options.precision = precision_of(config.precision);
  options.stash = config.precision.stash == config::Stash::int8 ? passes::StashFormat::int8
                                                                : passes::StashFormat::same;
  options.accumulates = micro_batches > 1;
  options.recompute = policy_of(recompute);
  options.optimizer = {config.optimizer.beta1,         config.optimizer.beta2,
                       config.optimizer.epsilon,       config.optimizer.weight_decay,
                       config.optimizer.gradient_clip, static_cast<std::int64_t>(config.run.seed)};
  return options;
}

passes::UpdateMode mode_of(config::UpdateMode update) {
  switch (update) {
    case config::UpdateMode::delayed: return passes::UpdateMode::delayed;
    case config::UpdateMode::speculative: return passes::UpdateMode::speculative;
    case config::UpdateMode::synchronous: break;
  }
  return passes::UpdateMode::synchronous;
}

bool is_gradients(const config::OffloadItem& item) {
  return item.what == config::TensorClass::gradients;
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

Operations operations_of(const plan::Program& program) {
  Operations operations;
  for (const plan::Instruction& i : program.instructions) {
    const bool head = i.op.starts_with("linear_cross_entropy");
    operations.count[i.op] += head ? 1.0 : 1.0 / static_cast<double>(i.chunks);
    std::int64_t& most = head ? operations.head_chunks : operations.mlp_chunks;
    most = std::max(most, i.chunks);
  }
  return operations;
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
  passes::StepGraphs step;
  GenerationGraphs generation;  // where there is a cache for it
  // Found when first asked for: frontiers of the accumulate graphs, and what transients may take
  // at each level, falling.
  std::vector<passes::RecomputePoint> first, others;
  std::vector<std::size_t> targets;
};

// What a way runs, before anything is moved, in the order of the plan.
struct RunCompiler::Programs {
  Way way;
  std::vector<ir::Graph> graphs;
  std::vector<std::pair<std::string, std::string>> exchanges;
};

struct RunCompiler::ProgramPrice {
  double seconds = 0;
  std::array<std::size_t, ir::kTiers> transients{};
  Operations operations;
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
  const passes::StepOptions options =
      step_options(config_, made->micro_batches, way.recompute, machine_.cpu.device);
  const auto forward = [&](const models::Architecture& architecture) {
    return passes::own_head_chunk(models::loss_graph(architecture, shape), machine_.cpu);
  };
  passes::StepGraphs step =
      passes::compile_step(forward(architecture_), forward(without_dropout), options, runner_);
  if (config_.train.sample_every > 0) {
    made->sample_cache =
        std::min(architecture_.context, config_.data.sequence_length + config_.train.sample_tokens);
    made->generation =
        generation_graphs(without_dropout, options.precision, made->sample_cache, runner_);
    step.refresh = passes::merge_refresh(std::move(step.refresh), made->generation.refresh);
  }
  made->step = std::move(step);
  known = std::move(made);
  return *known;
}

const std::vector<std::size_t>& RunCompiler::targets(const Way& way) {
  Graphs& made = graphs(way);
  if (!made.targets.empty()) return made.targets;
  made.first = plan::recompute_frontier(made.step.accumulate_first, machine_);
  if (made.step.accumulate) {
    made.others = plan::recompute_frontier(*made.step.accumulate, machine_);
  }
  std::set<std::size_t, std::greater<>> peaks;
  for (const auto* frontier : {&made.first, &made.others}) {
    for (const passes::RecomputePoint& point : *frontier) peaks.insert(point.peak_bytes);
  }
  made.targets.assign(peaks.begin(), peaks.end());
  return made.targets;
}

std::vector<std::size_t> RunCompiler::levels(const Way& way) {
  if (way.recompute != config::Recompute::automatic) return {0};
  const std::size_t count = targets(way).size();
  // The frontier knows nothing of what waits for its transport, nor of updates beside backward:
  // where there is such, its choices are planned one after the other, a few of them.
  const std::size_t stride = frontier_is_exact(way) ? 1 : divide_up(count, kLevelsOffDevice);
  std::vector<std::size_t> levels;
  if ((count - 1) % stride != 0) levels.push_back(0);
  for (std::size_t i = (count - 1) % stride; i < count; i += stride) levels.push_back(i);
  return levels;
}

bool RunCompiler::frontier_is_exact(const Way& way) const {
  return way.offload.empty() && config_.optimizer.update == config::UpdateMode::synchronous;
}

// Where an update would fetch the gradients for it. Tiles of a gradient are never on the device
// together.
bool RunCompiler::takes_norm_early(const Way& way) const {
  return config_.optimizer.update == config::UpdateMode::synchronous && way.piece == kWhole &&
         std::any_of(way.offload.begin(), way.offload.end(), is_gradients);
}

RunCompiler::Programs RunCompiler::make_programs(const Way& way, passes::Runner& runner) {
  passes::StepGraphs step = graphs(way).step;
  if (way.level > 0) {
    const std::size_t target = targets(way).at(way.level);
    const Graphs& made = graphs(way);
    const auto apply = [&](ir::Graph& graph, const std::vector<passes::RecomputePoint>& frontier) {
      const passes::Pass pass{"recompute", [&](ir::Graph g) {
                                return passes::applied(std::move(g),
                                                       passes::cheapest_within(frontier, target),
                                                       machine_.cpu);
                              }};
      graph = runner.run(std::move(graph), {pass});
    };
    apply(step.accumulate_first, made.first);
    if (step.accumulate) apply(*step.accumulate, made.others);
    if (step.evaluate) {
      step.evaluate = plan::chunk_to_fit(std::move(*step.evaluate), target, machine_);
    }
  }
  passes::StepPrograms made = passes::step_programs(step,
                                                    {.mode = mode_of(config_.optimizer.update),
                                                     .micro_batches = graphs(way).micro_batches,
                                                     .early_norm = takes_norm_early(way)},
                                                    machine_, runner);
  Programs programs{way, std::move(made.graphs), std::move(made.exchanges)};
  if (graphs(way).sample_cache > 0) {
    programs.graphs.push_back(graphs(way).generation.prefill);
    programs.graphs.push_back(graphs(way).generation.decode);
  }
  return programs;
}

const RunCompiler::Programs& RunCompiler::programs(const Way& way) {
  Way key = way;
  if (!takes_norm_early(way)) key.offload.clear();
  std::erase_if(key.offload, [](const auto& item) { return !is_gradients(item); });
  key.piece = kWhole;
  if (!programs_ || programs_->way != key) {
    programs_ = std::make_unique<Programs>(make_programs(key, quiet_));
  }
  return *programs_;
}

passes::OffloadOptions RunCompiler::offload_options_of(const Way& way) const {
  config::MemoryConfig memory = config_.memory;
  memory.offload = way.offload;
  return offload_options(memory, way.piece, machine_);
}

const RunCompiler::ProgramPrice& RunCompiler::price(const Way& way, const ir::Graph& program) {
  PriceKey key{program.name(), way};
  const bool by_level = is_accumulate(program.name()) || program.name() == "evaluate";
  if (!by_level) {
    key.way.micro_batch_size = 0;
    key.way.recompute = config::Recompute::none;
    key.way.level = 0;
  }
  const auto [at, fresh] = prices_.try_emplace(key);
  if (!fresh) return at->second;
  ir::Graph graph = program;
  const passes::OffloadOptions options = offload_options_of(way);
  for (const passes::Pass& pass :
       last_passes(pointers_to(programs(way).graphs), options, !way.offload.empty(), machine_)) {
    graph = pass.run(std::move(graph));
  }
  const plan::Plan planned = plan::make_plan({&graph}, machine_, planning_moves({}, options));
  const plan::Program& lowered = planned.programs[0];
  at->second = {lowered.predicted_seconds(),
                {lowered.transient_bytes, lowered.host.bytes, lowered.file.bytes},
                operations_of(lowered)};
  return at->second;
}

std::array<std::size_t, ir::kTiers> RunCompiler::standing_bytes(const Way& way) {
  Way key = way;
  key.level = 0;
  const auto [at, fresh] = standing_.try_emplace(key);
  if (fresh) {
    const std::vector<const ir::Graph*> all = pointers_to(programs(key).graphs);
    const std::vector<ir::Graph> shells =
        inputs_in_tiers(all, passes::choose_tiers(all, offload_options_of(way)));
    at->second = plan::standing_bytes(pointers_to(shells));
  }
  return at->second;
}

Price RunCompiler::price(const Way& way) {
  const auto [at, fresh] = known_.try_emplace(way);
  if (!fresh) return at->second;
  Price& sum = at->second;
  sum.bytes = standing_bytes(way);
  std::array<std::size_t, ir::kTiers> most{};
  std::map<std::string, double> seconds;
  for (const ir::Graph& graph : programs(way).graphs) {
    const ProgramPrice& program = price(way, graph);
    seconds[graph.name()] = program.seconds;
    for (std::size_t t = 0; t < most.size(); ++t) {
      most[t] = std::max(most[t], program.transients[t]);
    }
  }
  for (std::size_t t = 0; t < most.size(); ++t) sum.bytes[t] += most[t];
  sum.step_seconds = plan::step_seconds(graphs(way).micro_batches, [&](const std::string& name) {
    const auto found = seconds.find(name);
    return found == seconds.end() ? 0.0 : found->second;
  });
  return sum;
}

Operations RunCompiler::operations(const Way& way) {
  Operations sum;
  // Of several micro-batches a last one with the norm is the others' equal but for that.
  const bool last_counts = !takes_norm_early(way) || graphs(way).micro_batches <= 2;
  for (const ir::Graph& graph : programs(way).graphs) {
    if (!is_accumulate(graph.name())) continue;
    if (graph.name() == "accumulate_last" && !last_counts) continue;
    const Operations& one = price(way, graph).operations;
    for (const auto& [op, n] : one.count) sum.count[op] += n;
    sum.head_chunks = std::max(sum.head_chunks, one.head_chunks);
    sum.mlp_chunks = std::max(sum.mlp_chunks, one.mlp_chunks);
  }
  return sum;
}

Way RunCompiler::fit(Way way, const config::MemoryConfig& budgets) {
  way.level = 0;
  if (fits(budgets, price(way).bytes)) return way;
  Way smallest = way;
  std::vector<std::size_t> levels = this->levels(way);
  // Where the frontier is exact, bytes are known before anything is planned.
  if (frontier_is_exact(way) && levels.size() > 1) {
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
  Programs programs = make_programs(way, runner_);
  plan::PlanOptions planning;
  planning.exchanges = std::move(programs.exchanges);
  run.plan = plan_in_tiers(pointers_to(programs.graphs), memory, way.piece, machine_, runner_,
                           std::move(planning));
  return run;
}

}  // namespace bessemer::train

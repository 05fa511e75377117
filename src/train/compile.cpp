#include "train/compile.h"

#include <algorithm>
#include <functional>

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/environment.h"
#include "kernels/cpu/calibrate.h"
#include "models/model.h"
#include "passes/hoist_weights.h"
#include "passes/pipeline.h"
#include "passes/recompute.h"
#include "passes/step_programs.h"
#include "train/offload.h"

namespace bessemer::train {
namespace {

passes::Recipe recipe_of(config::Recipe recipe) {
  return recipe == config::Recipe::bf16 ? passes::Recipe::bf16 : passes::Recipe::fp32;
}

passes::RecomputePolicy policy_of(config::Recompute recompute) {
  switch (recompute) {
    case config::Recompute::full: return passes::RecomputePolicy::full;
    case config::Recompute::selective: return passes::RecomputePolicy::selective;
    case config::Recompute::none:
    case config::Recompute::automatic: break;  // automatic: plan::recompute_to_fit, once planned
  }
  return passes::RecomputePolicy::none;
}

passes::UpdateMode mode_of(config::UpdateMode update) {
  switch (update) {
    case config::UpdateMode::delayed: return passes::UpdateMode::delayed;
    case config::UpdateMode::speculative: return passes::UpdateMode::speculative;
    case config::UpdateMode::synchronous: break;
  }
  return passes::UpdateMode::synchronous;
}

passes::StepOptions step_options(const config::RunConfig& config, std::int64_t micro_batches) {
  passes::StepOptions options;
  options.recipe = recipe_of(config.precision.recipe);
  options.accumulates = micro_batches > 1;
  options.recompute = policy_of(*config.memory.recompute);
  options.optimizer = {config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon,
                       config.optimizer.weight_decay, config.optimizer.gradient_clip};
  return options;
}

struct GenerationGraphs {
  ir::Graph refresh{"refresh"};
  ir::Graph prefill, decode;
};

GenerationGraphs generation_graphs(const models::Architecture& architecture, passes::Recipe recipe,
                                   std::int64_t cache_length, passes::Runner& runner) {
  GenerationGraphs graphs;
  const auto compile = [&](std::int64_t tokens, const char* name) {
    ir::Graph graph = models::decode_graph(architecture, {1, tokens}, cache_length);
    graph.set_name(name);
    passes::ForwardGraphs compiled = passes::compile_forward(graph, recipe, runner);
    graphs.refresh = passes::merge_refresh(std::move(graphs.refresh), compiled.refresh);
    return std::move(compiled.forward);
  };
  graphs.prefill = compile(kPrefillTokens, "prefill");
  graphs.decode = compile(1, "decode");
  return graphs;
}

// A refresh without nodes would be a program that does nothing.
void add_refresh(const ir::Graph& refresh, std::vector<const ir::Graph*>& graphs) {
  if (!refresh.nodes().empty()) graphs.push_back(&refresh);
}

// Plans the graphs of a step as they stand, with those of other programs.
using PlanStep = std::function<plan::Plan(const passes::StepGraphs&)>;

// Recomputes until the plan of the step fits; where nothing does, as is smallest. The frontier
// knows nothing of what waits for its transport, nor of updates beside backward: where there is
// such, its choices are planned one after the other, a few of them.
plan::Plan recompute_to_fit(const passes::StepGraphs& step, const PlanStep& plan_step,
                            const config::RunConfig& config, passes::Runner& runner,
                            plan::KnownFrontiers& known) {
  constexpr std::size_t kTried = 12;
  const plan::Plan everything = plan_step(step);
  const std::size_t budget = device_budget(config.memory);
  const auto plan_for = [&](std::size_t target) {
    passes::StepGraphs recomputed = step;
    plan::recompute_to_fit(recomputed, everything, target, runner, known);
    return plan_step(recomputed);
  };
  if (everything.arena_bytes <= budget) return everything;
  const bool nothing_moves = !config.memory.offload || config.memory.offload->empty();
  if (nothing_moves && config.optimizer.update == config::UpdateMode::synchronous) {
    return plan_for(budget);
  }
  plan::Plan plan = everything;
  const std::vector<std::size_t> targets = plan::recompute_targets(step, everything, known);
  const std::size_t stride = (targets.size() + kTried - 1) / kTried;
  for (std::size_t i = (targets.size() - 1) % stride; i < targets.size(); i += stride) {
    plan::Plan next = plan_for(targets[i]);
    if (next.arena_bytes < plan.arena_bytes) plan = std::move(next);
    if (plan.arena_bytes <= budget) break;
  }
  return plan;
}

}  // namespace

std::size_t memory_of_this_machine() {
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGE_SIZE));
}

std::size_t device_budget(const config::MemoryConfig& memory) {
  return memory.device ? memory.device->count : memory_of_this_machine();
}

CompiledRun compile_run(const config::RunConfig& config, const models::Architecture& architecture,
                        const cost::MachineDescription& machine, passes::Runner& runner) {
  plan::KnownFrontiers known;
  return compile_run(config, architecture, machine, runner, known);
}

CompiledRun compile_run(const config::RunConfig& config, const models::Architecture& architecture,
                        const cost::MachineDescription& machine, passes::Runner& runner,
                        plan::KnownFrontiers& known) {
  CompiledRun run;
  run.architecture = architecture;
  run.micro_batches = *config.train.global_batch_size / config.train.micro_batch_size;
  const models::BatchShape shape{config.train.micro_batch_size, config.data.sequence_length};
  models::Architecture without_dropout = architecture;
  without_dropout.dropout = 0;
  const passes::StepOptions options = step_options(config, run.micro_batches);
  passes::StepGraphs step =
      passes::compile_step(models::loss_graph(architecture, shape),
                           models::loss_graph(without_dropout, shape), options, runner);
  GenerationGraphs generation;
  if (config.train.sample_every > 0) {
    run.sample_cache =
        std::min(architecture.context, config.data.sequence_length + config.train.sample_tokens);
    generation = generation_graphs(without_dropout, options.recipe, run.sample_cache, runner);
    step.refresh = passes::merge_refresh(std::move(step.refresh), generation.refresh);
  }
  const auto plan_step = [&](const passes::StepGraphs& graphs_of_step) {
    passes::StepPrograms programs = passes::step_programs(
        graphs_of_step, mode_of(config.optimizer.update), run.micro_batches, machine, runner);
    std::vector<const ir::Graph*> graphs;
    for (const ir::Graph& graph : programs.graphs) graphs.push_back(&graph);
    if (run.sample_cache > 0) {
      graphs.push_back(&generation.prefill);
      graphs.push_back(&generation.decode);
    }
    plan::PlanOptions planning;
    planning.exchanges = std::move(programs.exchanges);
    return plan_in_tiers(graphs, config.memory, machine, runner, planning);
  };
  run.plan = config.memory.recompute == config::Recompute::automatic
                 ? recompute_to_fit(step, plan_step, config, runner, known)
                 : plan_step(step);
  return run;
}

plan::Plan compile_generation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t cache_length, const cost::MachineDescription& machine,
                              passes::Runner& runner) {
  const GenerationGraphs generation =
      generation_graphs(architecture, recipe_of(recipe), cache_length, runner);
  std::vector<const ir::Graph*> graphs;
  add_refresh(generation.refresh, graphs);
  graphs.push_back(&generation.prefill);
  graphs.push_back(&generation.decode);
  return plan::make_plan(graphs, machine);
}

plan::Plan compile_evaluation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t sequences, std::int64_t sequence_length,
                              const cost::MachineDescription& machine, passes::Runner& runner) {
  ir::Graph graph = models::loss_graph(architecture, {sequences, sequence_length});
  graph.set_name("evaluate");
  const passes::ForwardGraphs compiled = passes::compile_forward(graph, recipe_of(recipe), runner);
  std::vector<const ir::Graph*> graphs;
  add_refresh(compiled.refresh, graphs);
  graphs.push_back(&compiled.forward);
  return plan::make_plan(graphs, machine);
}

std::vector<checkpoint::TensorSpec> specs_to_save(const plan::Plan& plan) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    const bool state = entry.role == ir::Role::parameter || entry.role == ir::Role::optimizer;
    if ((state && !passes::is_next(entry.name)) || passes::is_pending(entry.name)) {
      specs.push_back({entry.name, entry.type});
    }
  }
  return specs;
}

bool saves_from_copy(const plan::Plan& plan) {
  for (const checkpoint::TensorSpec& spec : specs_to_save(plan)) {
    if (plan.find_tensor(spec.name)->tier != ir::Tier::device) return false;
  }
  return true;
}

std::filesystem::path calibration_path() { return config::cache_directory() / "machine.json"; }

cost::MachineDescription calibrate() {
  cost::MachineDescription machine = cost::describe_here();
  machine.matmul_flops_fp32 = kernels::cpu::measure_matmul_peak(DType::fp32);
  machine.matmul_flops_bf16 = kernels::cpu::measure_matmul_peak(DType::bf16);
  machine.layer_flops_fp32 = kernels::cpu::measure_layer_rate(DType::fp32);
  machine.layer_flops_bf16 = kernels::cpu::measure_layer_rate(DType::bf16);
  machine.copy_bandwidth = kernels::cpu::measure_copy_bandwidth();
  machine.host_bandwidth = kernels::cpu::measure_link_bandwidth();
  machine.measured = true;
  keep_calibration(machine);
  return machine;
}

void keep_calibration(const cost::MachineDescription& machine) {
  try {
    cost::save(machine, calibration_path());
  } catch (const std::exception& error) {  // a read-only home costs a measurement at the next start
    log::warn("the calibration is not kept: {}", error.what());
  }
}

cost::MachineDescription measured_machine() {
  if (auto cached = cost::load(calibration_path(), cost::describe_here())) return *cached;
  log::info("measuring this machine's rates once (kept in {})", calibration_path().string());
  return calibrate();
}

}  // namespace bessemer::train

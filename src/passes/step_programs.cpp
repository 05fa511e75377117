#include "passes/step_programs.h"

#include "base/error.h"
#include "passes/collect_amax.h"
#include "passes/delay_update.h"
#include "passes/differentiate.h"
#include "passes/early_norm.h"
#include "passes/merged_step.h"
#include "passes/set_fp8.h"
#include "passes/speculate_update.h"
#include "passes/write_weights.h"

namespace bessemer::passes {
namespace {

void add_micro_batches(const StepGraphs& step, std::int64_t count, std::vector<ir::Graph>& graphs) {
  if (count > 0) graphs.push_back(step.accumulate_first);
  if (count > 1 && step.accumulate) graphs.push_back(*step.accumulate);
}

// Parameters and state have a second place; the weights are done with when they are replaced.
std::vector<std::pair<std::string, std::string>> next_places(const ir::Graph& update) {
  std::vector<std::pair<std::string, std::string>> exchanges;
  for (const ir::Output& output : update.outputs()) {
    if (output.kind != ir::Output::Kind::write) continue;
    if (update.find_input(output.name)->role == ir::Role::weight) continue;
    exchanges.emplace_back(output.name, next_name(output.name));
  }
  return exchanges;
}

std::vector<std::pair<std::string, std::string>> pending_gradients(const ir::Graph& update) {
  std::vector<std::pair<std::string, std::string>> exchanges;
  for (const ParameterUpdate& one : parameter_updates(update)) {
    exchanges.emplace_back(gradient_name(one.parameter), pending_name(one.parameter));
  }
  return exchanges;
}

// With delayed scaling of fp8, the graphs of the micro-batches say what tensors reach.
StepGraphs with_amaxes(StepGraphs step, UpdateMode mode, Runner& runner) {
  if (step.accumulate_first.find_input(kFp8Amax) == nullptr) return step;
  require(mode == UpdateMode::synchronous, "delayed scaling needs synchronous updates");
  const auto collect = [&](ir::Graph graph, GradientMode gradients) {
    const Pass pass{"collect_amax",
                    [gradients](ir::Graph g) { return collect_amax(std::move(g), gradients); }};
    return runner.run(std::move(graph), {pass});
  };
  step.accumulate_first = collect(std::move(step.accumulate_first), GradientMode::overwrite);
  if (step.accumulate) {
    step.accumulate = collect(std::move(*step.accumulate), GradientMode::accumulate);
  }
  return step;
}

}  // namespace

StepPrograms step_programs(const StepGraphs& recomputed, const StepProgramOptions& options,
                           const cost::MachineDescription& machine, Runner& runner) {
  const StepGraphs step = with_amaxes(recomputed, options.mode, runner);
  const std::int64_t micro_batches = options.micro_batches;
  StepPrograms programs;
  std::vector<ir::Graph>& graphs = programs.graphs;
  if (!step.refresh.nodes().empty()) graphs.push_back(step.refresh);
  const ir::Graph update = runner.run(
      step.update,
      {{"write_weights", [&](ir::Graph g) { return write_weights(std::move(g), step.refresh); }}});
  const ir::Graph rest = rest_of_refresh(step.refresh, update);
  const ir::Graph& accumulate = micro_batches > 1 ? *step.accumulate : step.accumulate_first;
  const auto add_rest = [&] {
    if (!rest.nodes().empty()) graphs.push_back(rest);
  };
  switch (options.mode) {
    case UpdateMode::synchronous:
      add_micro_batches(step, micro_batches - (options.early_norm ? 1 : 0), graphs);
      if (options.early_norm) {
        graphs.push_back(runner.run(accumulate, {{"early_norm", [&](const ir::Graph& g) {
                                                    return early_norm(g, update);
                                                  }}}));
      }
      graphs.push_back(options.early_norm ? update_after_norm(update) : update);
      add_rest();
      break;
    case UpdateMode::delayed:
      add_micro_batches(step, micro_batches - 1, graphs);
      graphs.push_back(runner.run(accumulate, {{"delay_update", [&](const ir::Graph& g) {
                                                  return delay_update(g, update, step.refresh,
                                                                      machine);
                                                }}}));
      graphs.push_back(keep_for_next_step(update));
      programs.exchanges = pending_gradients(update);
      break;
    case UpdateMode::speculative:
      add_micro_batches(step, micro_batches - 1, graphs);
      graphs.push_back(runner.run(accumulate, {{"speculate_update", [&](const ir::Graph& g) {
                                                  return speculate_update(g, update, step.refresh);
                                                }}}));
      graphs.push_back(check_speculation(update));
      graphs.push_back(update);
      add_rest();
      programs.exchanges = next_places(update);
      break;
  }
  if (step.evaluate) graphs.push_back(*step.evaluate);
  return programs;
}

}  // namespace bessemer::passes

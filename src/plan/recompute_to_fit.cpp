#include "plan/recompute_to_fit.h"

#include <algorithm>

#include "base/log.h"
#include "ir/text.h"
#include "passes/recompute.h"
#include "plan/report.h"

namespace bessemer::plan {

std::vector<passes::RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                                       const cost::MachineDescription& machine) {
  // Fewer choices of a larger graph, so that the nodes planned for them stay as many.
  constexpr std::size_t kNodes = 100'000, kFewest = 24;
  passes::FrontierOptions options;
  options.steps =
      std::clamp(kNodes / std::max<std::size_t>(1, ordered.nodes().size()), kFewest, options.steps);
  const passes::PeakOf peak = [&](const ir::Graph& graph) {
    return make_plan({&graph}, machine).programs[0].transient_bytes;
  };
  return passes::recompute_frontier(ordered, machine, peak, options);
}

namespace {

const std::vector<passes::RecomputePoint>& known_frontier(const ir::Graph& graph,
                                                          const cost::MachineDescription& machine,
                                                          KnownFrontiers& known) {
  const auto [at, fresh] = known.try_emplace(ir::print(graph));
  if (fresh) at->second = recompute_frontier(graph, machine);
  return at->second;
}

}  // namespace

ir::Graph recompute_to_fit(ir::Graph ordered, std::size_t budget,
                           const cost::MachineDescription& machine, passes::Runner& runner,
                           KnownFrontiers& known) {
  const auto fit = [&](ir::Graph graph) {
    const std::vector<passes::RecomputePoint>& frontier = known_frontier(graph, machine, known);
    const passes::RecomputePoint& point = passes::cheapest_within(frontier, budget);
    log::debug("{}: recomputation adds {:.3g} s, predicted, and takes transients from {} to {}",
               graph.name(), point.added_seconds, bytes_text(frontier.front().peak_bytes),
               bytes_text(point.peak_bytes));
    return passes::recompute(std::move(graph), point.kept);
  };
  return runner.run(std::move(ordered), {{"recompute", fit}});
}

void recompute_to_fit(passes::StepGraphs& step, const Plan& planned, std::size_t budget,
                      passes::Runner& runner, KnownFrontiers& known) {
  if (planned.arena_bytes <= budget) return;
  const std::size_t fixed = planned.persistent_bytes + planned.data_bytes;
  const std::size_t left = budget > fixed ? budget - fixed : 0;
  const auto fit = [&](ir::Graph& graph) {
    graph = recompute_to_fit(std::move(graph), left, planned.machine, runner, known);
  };
  fit(step.accumulate_first);
  if (step.accumulate) fit(*step.accumulate);
}

}  // namespace bessemer::plan

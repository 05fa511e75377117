#include "plan/recompute_to_fit.h"

#include <algorithm>

#include "base/log.h"
#include "cost/node_seconds.h"
#include "ir/text.h"
#include "passes/recompute.h"
#include "plan/report.h"

namespace bessemer::plan {

namespace {

using passes::RecomputePoint;

double seconds_of(const ir::Graph& graph, const cost::MachineDescription& machine) {
  double sum = 0;
  for (const double seconds : cost::node_seconds(graph, machine)) sum += seconds;
  return sum;
}

passes::Peak peak_of(const ir::Graph& graph, const cost::MachineDescription& machine) {
  const Program program = make_plan({&graph}, machine).programs[0];
  return {program.transient_bytes, program.live_peak_at};
}

// The choice, and from it on choices in ever smaller chunks, as long as what they are chunks of is
// where the plan needs most.
void add_in_chunks(const ir::Graph& ordered, RecomputePoint point,
                   const cost::MachineDescription& machine, std::vector<RecomputePoint>& all) {
  all.push_back(point);
  const double added = point.added_seconds;
  ir::Graph graph = passes::applied(ordered, point, machine.cpu);
  const double in_whole = seconds_of(graph, machine);
  while (const auto finer = passes::finer_at(graph, point.peak_at, point.chunking, machine.cpu)) {
    point.chunking = *finer;
    graph = passes::applied(ordered, point, machine.cpu);
    point.added_seconds = added + seconds_of(graph, machine) - in_whole;
    const passes::Peak peak = peak_of(graph, machine);
    point.peak_bytes = peak.bytes;
    point.peak_at = peak.at;
    all.push_back(point);
  }
}

}  // namespace

std::vector<RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                               const cost::MachineDescription& machine) {
  // Fewer choices of a larger graph, so that the nodes planned for them stay as many.
  constexpr std::size_t kNodes = 100'000, kFewest = 24;
  passes::FrontierOptions options;
  options.steps =
      std::clamp(kNodes / std::max<std::size_t>(1, ordered.nodes().size()), kFewest, options.steps);
  const auto in_whole = passes::recompute_frontier(
      ordered, machine, [&](const ir::Graph& graph) { return peak_of(graph, machine); }, options);
  std::vector<RecomputePoint> all;
  for (const RecomputePoint& point : in_whole) add_in_chunks(ordered, point, machine, all);
  return passes::non_dominated(std::move(all));
}

ir::Graph chunk_to_fit(ir::Graph graph, std::size_t budget,
                       const cost::MachineDescription& machine) {
  for (passes::Chunking chunking;;) {
    ir::Graph chunked = passes::chunk(graph, chunking, machine.cpu);
    const Program program = make_plan({&chunked}, machine).programs[0];
    const auto finer = passes::finer_at(chunked, program.live_peak_at, chunking, machine.cpu);
    if (program.transient_bytes <= budget || !finer) return chunked;
    chunking = *finer;
  }
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
    log::debug("{}: recomputation and chunks add {:.3g} s, predicted; transients from {} to {}",
               graph.name(), point.added_seconds, bytes_text(frontier.front().peak_bytes),
               bytes_text(point.peak_bytes));
    return passes::applied(std::move(graph), point, machine.cpu);
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
  if (step.evaluate) {
    step.evaluate = chunk_to_fit(std::move(*step.evaluate), left, planned.machine);
  }
}

}  // namespace bessemer::plan

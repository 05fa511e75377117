#include "plan/recompute_to_fit.h"

#include "base/log.h"
#include "passes/recompute.h"
#include "plan/plan.h"
#include "plan/report.h"

namespace bessemer::plan {

std::vector<passes::RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                                       const cost::MachineDescription& machine) {
  return passes::recompute_frontier(ordered, machine, [&](const ir::Graph& graph) {
    return make_plan({&graph}, machine).programs[0].transient_bytes;
  });
}

ir::Graph recompute_to_fit(ir::Graph ordered, std::size_t budget,
                           const cost::MachineDescription& machine) {
  const auto frontier = recompute_frontier(ordered, machine);
  const passes::RecomputePoint& point = passes::cheapest_within(frontier, budget);
  log::info("{}: recomputation adds {:.3g} s, predicted, and takes transients from {} to {}",
            ordered.name(), point.added_seconds, bytes_text(frontier.front().peak_bytes),
            bytes_text(point.peak_bytes));
  return passes::recompute(std::move(ordered), point.kept);
}

}  // namespace bessemer::plan

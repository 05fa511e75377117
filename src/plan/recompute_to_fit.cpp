#include "plan/recompute_to_fit.h"

#include "base/log.h"
#include "passes/recompute.h"
#include "plan/plan.h"

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
  log::info("{}: recomputation adds {:.3f} s to a micro-batch and takes transients from {:.2f} to "
            "{:.2f} GiB",
            ordered.name(), point.added_seconds,
            static_cast<double>(frontier.front().peak_bytes) / (1 << 30),
            static_cast<double>(point.peak_bytes) / (1 << 30));
  return passes::recompute(std::move(ordered), point.kept);
}

}  // namespace bessemer::plan

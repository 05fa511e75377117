// recompute = "auto": which values to keep so that a step fits a budget at the least added time.
//
// The frontier is a fixed list of choices, from everything kept to the smallest peak found, and a
// budget picks the first that fits. So peak and added time are monotone in the budget by
// construction: a larger budget never picks a choice with more added time.
//
// How the choices are found:
//
// 1. Forward is cut at its waists (passes/stash.h) into stretches of one block, of two, of four and
//    so on up to the root of their number (Chen et al., 2016); the waists at their ends stay.
// 2. Each stretch gets its frontier of bytes against predicted seconds, by minimum cuts
//    (passes/recompute_cut.h).
// 3. Across stretches, the steps along their frontiers are taken in order of seconds per byte: the
//    greedy answer to the knapsack, whose error is below one step of one stretch. Of equal steps
//    the earliest stretch goes first: what early layers recompute in backward finds the stash of
//    the later ones gone.
// 4. Each choice on the way, and each fixed policy, is rewritten and planned; `peak_of` gives the
//    bytes it really needs, with what recomputation itself keeps alive for a while. From the last
//    stretch backwards, recomputation that does not lower this peak is undone.
// 5. What is worse than another choice in both peak and time is dropped, before 4's last step and
//    after it.
//
// Graphs with at most `exhaustive` values to choose are not searched like this: all subsets are
// planned, and the frontier is exact.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"
#include "passes/chunk.h"
#include "passes/stash.h"

namespace bessemer::passes {

struct RecomputePoint {
  Kept kept;                    // for passes::recompute
  Chunking chunking;            // for passes::chunk, of the graph that comes from it
  std::size_t stash_bytes = 0;  // what backward takes from forward
  std::size_t peak_bytes = 0;   // as `peak_of` says,
  int peak_at = 0;              // and at which node
  double added_seconds = 0;     // of the nodes that run again, and of smaller chunks, predicted
};

struct FrontierOptions {
  std::size_t exhaustive = 12;  // values
  std::size_t steps = 128;      // planned for each length of stretches, evenly by bytes saved; and
                                // how many choices there are at most, but for the last
};

/// Planned bytes of a graph that is ready to be planned, and the node where it needs them.
struct Peak {
  std::size_t bytes = 0;
  int at = 0;
};
using PeakOf = std::function<Peak(const ir::Graph&)>;

/// Sorted by added time, from 0; peaks fall strictly. Never empty.
std::vector<RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                               const cost::MachineDescription& machine,
                                               const PeakOf& peak_of,
                                               const FrontierOptions& options = {});

/// Points of which none needs as much or more in both peak and time as another: sorted by added
/// time; peaks fall strictly.
std::vector<RecomputePoint> non_dominated(std::vector<RecomputePoint> points);

/// The graph of a choice.
ir::Graph applied(ir::Graph ordered, const RecomputePoint& point, const kernels::Machine& machine);

/// The first point with a peak of at most `budget` bytes; where there is none, the last: the
/// smallest peak.
const RecomputePoint& cheapest_within(const std::vector<RecomputePoint>& frontier,
                                      std::size_t budget);

}  // namespace bessemer::passes

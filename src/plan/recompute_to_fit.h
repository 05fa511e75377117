// Recomputation judged by the plan: the frontier of passes/recompute_frontier.h, with what the
// arena really needs for transients as its peak; and smaller chunks (passes/chunk.h) where that
// peak lies in what they are chunks of. Each choice is planned with ever smaller ones until its
// peak lies elsewhere; so a chunk is made smaller where that costs less than the recomputation it
// spares.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"
#include "passes/pipeline.h"
#include "passes/recompute_frontier.h"
#include "plan/plan.h"

namespace bessemer::plan {

/// Choices of what to keep in an ordered training graph and in what chunks to work, with
/// Program::transient_bytes as peak.
std::vector<passes::RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                                       const cost::MachineDescription& machine);

/// Frontiers found so far, by the text of their graph: to find one, hundreds of graphs are planned.
using KnownFrontiers = std::map<std::string, std::vector<passes::RecomputePoint>>;

/// The graph with the least recomputation with which its transients fit `budget` bytes; where none
/// does, the one that needs least. `runner` runs it, as one more pass.
ir::Graph recompute_to_fit(ir::Graph ordered, std::size_t budget,
                           const cost::MachineDescription& machine, passes::Runner& runner,
                           KnownFrontiers& known);

/// A graph without backward, in the largest chunks with which its transients fit `budget` bytes;
/// where none do, in the smallest that serve.
ir::Graph chunk_to_fit(ir::Graph graph, std::size_t budget,
                       const cost::MachineDescription& machine);

/// The same for the graphs of a step so that the whole arena fits `budget` bytes.
/// `planned` is the plan of these graphs, in which they keep everything.
void recompute_to_fit(passes::StepGraphs& step, const Plan& planned, std::size_t budget,
                      passes::Runner& runner, KnownFrontiers& known);

}  // namespace bessemer::plan

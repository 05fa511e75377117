// Which activations of a training graph are worth moving off the device between forward and
// backward.
#pragma once

#include <unordered_set>
#include <vector>

#include "passes/offload.h"

namespace bessemer::passes {

struct StashMoves {
  std::size_t boundary = static_cast<std::size_t>(-1);  // the last node of forward
  std::vector<ir::ValueId> root;                        // by value: the value whose bytes it shows
  std::unordered_set<ir::ValueId> values;  // roots to store in forward and fetch in backward
};

/// No values where the options keep activations on the device or the graph has no backward.
StashMoves find_stash_moves(const ir::Graph& graph, const OffloadOptions& options,
                            const cost::MachineDescription& machine);

}  // namespace bessemer::passes

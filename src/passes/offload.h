// offload: moves tensors to the host and the file tier, and puts the movement into the graph.
//
// Must run last: after order, because what it adds is placed by the time that passes between nodes,
// and no pass may change their order afterwards (a store into a tensor leaves older values of it
// readable only in part). Before it: all that decides which values there are.
// After: persistent inputs lie in the tiers of a TierMap; every use on the device has a fetch
// before it, as early as its link needs to be done in time; what replaces such an input is stored
// there.
//
// Same numbers, bit for bit: values are copied, element-wise updates are done in pieces, the global
// norm from the same partial sums in the same order. (Where the table of an embedding is away and
// its rounded copy is there, the copy is read: the refresh has run since the last update.)
//
//   optimizer    Where m, v lie on the host, AdamW runs there, as ZeRO-Offload's does (Ren et al.,
//                2021). From the file it goes through the device in tiles (ZeRO-Infinity's,
//                Rajbhandari et al., 2021): fetch, update, store, one tile being computed while
//                others move.
//   gradients    are stored when they are made, fetched when a later micro-batch adds to them.
//   parameters   are fetched before the layer that uses them, in forward and again in backward.
//                One too large for the device is there in tiles (tile_weights.h).
//   activations  of the stash are stored in forward and fetched in backward, where that takes less
//                time than they would lie idle.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

struct OffloadOptions {
  /// Moments, and fp32 parameters of which the step has copies (the masters of a bf16 recipe).
  ir::Tier optimizer = ir::Tier::device;
  ir::Tier gradients = ir::Tier::device;
  /// What forward and backward compute with: parameters, or their bf16 copies.
  ir::Tier parameters = ir::Tier::device;
  ir::Tier activations = ir::Tier::device;

  std::size_t smallest = std::size_t{16} << 10;       // bytes; smaller tensors stay on the device
  std::size_t tile = std::size_t{4} << 20;            // bytes of fp32 of a piece of an update
  std::size_t fetched_ahead = std::size_t{64} << 20;  // bytes on the device before their use
  /// Bytes above which a matrix of weights, or its gradient, is there in tiles only
  /// (tile_weights.h). A tile is one block of it at least. By default all are there whole.
  std::size_t largest_fetch = static_cast<std::size_t>(-1);
  /// A value leaves the device between two uses only where moving it takes less than 1/patience of
  /// the time between them. 0: always.
  double patience = 1.0;
  /// Persistent tensors, by name, that stay on the device whatever their class. May be empty.
  std::function<bool(std::string_view name)> stays;
};

/// Persistent tensors that do not lie on the device.
using TierMap = std::map<std::string, ir::Tier, std::less<>>;

/// By the classes of the options, over all graphs of a run: they share tensors by name.
TierMap choose_tiers(std::span<const ir::Graph* const> graphs, const OffloadOptions& options);

ir::Graph offload(ir::Graph graph, const TierMap& tiers, const OffloadOptions& options,
                  const cost::MachineDescription& machine);

}  // namespace bessemer::passes

// The choices a step leaves open: one value of each is a way to run it.
//
// A choice more is a member here, its values in WayChoices, and what RunCompiler makes of it; the
// search does not change. In how many chunks the head and MLPs work comes with the level.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "ir/tier.h"

namespace bessemer::train {

struct Way {
  std::int64_t micro_batch_size = 1;
  std::vector<config::OffloadItem> offload;
  /// Bytes of a moved tensor that are on the device at a time (train/offload.h); kWhole: all.
  std::size_t piece = 0;
  config::Recompute recompute = config::Recompute::none;
  /// How far along the frontier of recomputation; 0 keeps everything. Others only with `automatic`.
  std::size_t level = 0;

  auto operator<=>(const Way&) const = default;
};

/// Values that the search may take for each choice but the level, which budgets decide.
struct WayChoices {
  std::vector<std::int64_t> micro_batch_sizes;
  std::vector<std::vector<config::OffloadItem>> offloads;
  std::size_t piece = 0;  // to try where nothing fits whole
  config::Recompute recompute = config::Recompute::automatic;
};

/// What a way takes: bytes of each tier's arena and predicted seconds of a step.
struct Price {
  std::array<std::size_t, ir::kTiers> bytes{};
  double step_seconds = 0;

  std::size_t device_bytes() const { return bytes[ir::index_of(ir::Tier::device)]; }
};

}  // namespace bessemer::train

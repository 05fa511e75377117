// The arena's memory over the instructions of one optimiser step, by category.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "plan/plan.h"

namespace bessemer::plan {

/// The accounts of the ledger that a step moves between, in the order they are stacked.
inline constexpr std::array<std::string_view, 10> kTimelineCategories{
    "parameters", "optimizer", "gradients",  "weights", "cache",
    "data",       "stash",     "transients", "scratch", "communication"};

struct Moment {
  std::string program;
  std::size_t instruction = 0;  // in the program
  std::string what;             // op and label
  std::array<std::size_t, kTimelineCategories.size()> bytes{};

  std::size_t sum() const;
};

/// One moment for each instruction of refresh, the micro-batches' programs and update, as far as
/// the plan has them; of a plan that does not train, all programs. Further micro-batches repeat
/// accumulate. The sum of a moment is what is alive then: the arena less what the offsets leave
/// unused.
std::vector<Moment> memory_timeline(const Plan& plan);

/// The index of the first moment with the largest sum. There must be one moment at least.
std::size_t peak_of(const std::vector<Moment>& timeline);

}  // namespace bessemer::plan

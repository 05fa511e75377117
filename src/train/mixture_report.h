// The mixture a run was asked for beside the one it got.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/mixture_schedule.h"

namespace bessemer::train {

struct SourceShare {
  std::string name;
  std::uint64_t sequences = 0;  // that it gave
  double share = 0;             // of all
  double asked = 0;             // by its weights over these steps; max_epochs does not enter
};

/// Of the first `sequences` sequences of a run, in the run file's order.
std::vector<SourceShare> mixture_shares(const config::RunConfig& config,
                                        const data::MixtureSchedule& schedule,
                                        std::uint64_t sequences);

/// "bible 33.33% (asked 33.33%), ...; at most 0.01% off".
std::string mixture_text(const std::vector<SourceShare>& shares);

}  // namespace bessemer::train

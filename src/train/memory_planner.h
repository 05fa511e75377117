// The planner of memory: of the ways to run a step, the one that fits the budget and takes the
// least predicted time. It varies where values are and when they are made, never what is computed;
// what would change that (a smaller micro-batch sums in another order) it only proposes, with its
// price.
//
// Every way is compiled and planned for real, so that a price is what applying it gives.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/run_config.h"
#include "train/compile.h"

namespace bessemer::train {

/// A change of a run file and what comes of it.
struct Remedy {
  std::string change;  // as it is written in the run file: train.micro_batch_size = 2
  std::size_t device_bytes = 0;
  double step_seconds = 0;
  bool fits = false;
};

/// A budget and the best step under it.
struct FrontierPoint {
  std::size_t device_bytes = 0;  // the plan's peak, the least budget under which it is chosen
  double step_seconds = 0;
  std::string how;  // what it recomputes and moves
};

class MemoryPlanner {
 public:
  /// `config` as parsed; all must outlive the planner.
  MemoryPlanner(const config::RunConfig& config, const models::Architecture& architecture,
                const cost::MachineDescription& machine);

  /// InputError where the plan of `config` does not fit: what it needs, what is there, and the
  /// remedies, best first.
  void check(const CompiledRun& run);

  /// From everything kept on the device to the smallest peak, peaks falling and seconds rising.
  std::vector<FrontierPoint> frontier();

  /// Changes that would lower the peak of `config`: those that fit first, fastest first; then those
  /// that do not, smallest first.
  std::vector<Remedy> remedies();

 private:
  struct Way {
    config::RunConfig config;
    CompiledRun run;
    double step_seconds = 0;
  };
  Way compile(config::RunConfig config);
  bool fits(const plan::Plan& plan) const;

  const config::RunConfig& config_;
  const models::Architecture& architecture_;
  const cost::MachineDescription& machine_;
  plan::KnownFrontiers known_;
};

/// The table of a frontier, and a refusal's list of remedies, for people.
std::string frontier_text(const std::vector<FrontierPoint>& points);
nlohmann::json frontier_json(const std::vector<FrontierPoint>& points);  // see docs/formats.md
std::string remedies_text(const std::vector<Remedy>& remedies, std::size_t needed,
                          double step_seconds);

}  // namespace bessemer::train

// The planner of memory: of the ways to run a step, the one that fits the budgets and takes the
// least predicted time. It varies where values are and when they are made, never what is computed;
// what would change that (a smaller micro-batch sums in another order) it only proposes, with its
// price.
//
// Every way that is named has been compiled and planned for real: a price is what applying it
// gives.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/run_config.h"
#include "train/compile.h"

namespace bessemer::train {

/// A change of a run file and what comes of it.
struct Remedy {
  std::string change;  // as it is written in a run file: train.micro_batch_size = 2
  std::size_t device_bytes = 0;
  double step_seconds = 0;
  bool fits = false;
};

/// A budget and the best step under it.
struct FrontierPoint {
  std::size_t device_bytes = 0;  // the plan's peak: the least budget that allows it
  std::size_t host_bytes = 0, file_bytes = 0;
  double step_seconds = 0;
  std::string how;  // what it moves and what it makes again
};

class MemoryPlanner {
 public:
  /// `config` as parsed; all must outlive the planner.
  MemoryPlanner(const config::RunConfig& config, const models::Architecture& architecture,
                const cost::MachineDescription& machine);

  /// The config with memory.offload settled: the fastest that fits, else the one with the smallest
  /// device tier.
  config::RunConfig choose();

  /// InputError where the plan of a chosen config does not fit: what it needs, what is there, and
  /// the remedies.
  void check(const CompiledRun& run);

  /// From everything kept on the device to the smallest peak: peaks fall, seconds rise.
  std::vector<FrontierPoint> frontier();

  /// Changes of the run file that take less of the device: those that fit first, fastest first;
  /// then the others, smallest first.
  std::vector<Remedy> remedies();

 private:
  struct Way {
    config::RunConfig config;
    CompiledRun run;
    double step_seconds = 0;
  };
  Way compile(config::RunConfig config);
  Way best(const config::RunConfig& config);
  bool fits(const plan::Plan& plan) const;

  const config::RunConfig& config_;
  const models::Architecture& architecture_;
  const cost::MachineDescription& machine_;
  plan::KnownFrontiers known_;
};

/// The table of a frontier for people, and as JSON:
/// [{peak_bytes: {device, host, file}, step_seconds, how}].
std::string frontier_text(const std::vector<FrontierPoint>& points);
nlohmann::json frontier_json(const std::vector<FrontierPoint>& points);

}  // namespace bessemer::train

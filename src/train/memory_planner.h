// The planner of memory: of the ways to run a step, the one that fits the budgets and takes the
// least predicted time. It varies where values are and when they are made, and, where the run file
// leaves it open, how many sequences a micro-batch has. Nothing else of what is computed changes.
//
// The search is branch and bound over the choices of train/way.h. At each micro-batch size, keeping
// everything on the device is the least any way can take; at each of those with something moved,
// recomputing nothing is. What is found is the fastest of all that the choices name, whatever the
// order: so a larger budget never gives a slower step.
//
// Every way that is named has been planned for real: a price is what applying it gives.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/run_config.h"
#include "train/compile.h"
#include "train/run_compiler.h"
#include "train/way.h"

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
  std::int64_t micro_batch_size = 1;
  std::string how;  // what it moves and what it makes again
};

/// Who says how large a micro-batch is, where it is not left open: a run that goes on keeps its
/// own, since another sums in another order.
enum class BatchFrom { run_file, checkpoint };

class MemoryPlanner {
 public:
  /// `config` as parsed.
  MemoryPlanner(const config::RunConfig& config, const models::Architecture& architecture,
                const cost::MachineDescription& machine, BatchFrom from = BatchFrom::run_file);

  MemoryPlanner(const MemoryPlanner&) = delete;
  MemoryPlanner& operator=(const MemoryPlanner&) = delete;

  /// The config with train.micro_batch_size and memory.offload settled: the fastest that fits, else
  /// the one with the smallest device tier.
  config::RunConfig choose();

  /// That run.
  CompiledRun compile();

  /// InputError where that run does not fit: what it needs, what is there, and the remedies.
  void check();

  /// From everything kept on the device to the smallest peak: peaks fall, seconds rise. As many
  /// points as there are, up to a dozen or two.
  std::vector<FrontierPoint> frontier();

  /// Changes of the run file that take less of the device: those that fit first, fastest first;
  /// then the others, smallest first.
  std::vector<Remedy> remedies();

  const models::Architecture& architecture() const { return compiler_.architecture(); }

 private:
  struct Found {
    Way way;
    Price price;
  };
  const Found& chosen();
  Found search(const WayChoices& choices, const config::MemoryConfig& budgets);
  std::optional<Found> fastest(std::vector<Way> ways, const config::MemoryConfig& budgets);
  Found smallest(const WayChoices& choices);
  static std::vector<Found> non_dominated(std::vector<Found> found);
  Remedy remedy(std::string change, const config::RunConfig& changed);
  FrontierPoint point(const Found& found);

  config::RunConfig config_;
  config::MemoryConfig budgets_;
  std::size_t piece_;  // of a tensor, where nothing fits whole
  BatchFrom batch_from_;
  passes::Runner quiet_;
  RunCompiler compiler_;
  std::optional<Found> chosen_;
};

}  // namespace bessemer::train

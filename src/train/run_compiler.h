// Compiles one run in many ways. What ways share is made once: graphs by micro-batch size and
// policy, frontiers of recomputation by graph, prices by program and way.
//
// The price of a way is put together from programs that are planned one by one; it is what the
// plan of the whole way says, to the byte and the bit.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "cost/machine.h"
#include "models/architecture.h"
#include "passes/offload.h"
#include "passes/pass.h"
#include "passes/pipeline.h"
#include "passes/recompute_frontier.h"
#include "train/compile.h"
#include "train/way.h"

namespace bessemer::train {

/// What the accumulate programs of a way run.
struct Operations {
  std::map<std::string, double> count;  // by op; instructions on parts of an MLP count as one
  std::int64_t head_chunks = 1, mlp_chunks = 1;
};

class RunCompiler {
 public:
  /// Of `config` all counts but what a Way says. `runner` makes the graphs and what compile()
  /// gives; what is only priced runs unseen. It must outlive this.
  RunCompiler(config::RunConfig config, models::Architecture architecture,
              cost::MachineDescription machine, passes::Runner& runner);
  ~RunCompiler();

  CompiledRun compile(const Way& way);
  Price price(const Way& way);

  /// The bytes that no recomputation saves: persistent tensors and data.
  std::array<std::size_t, ir::kTiers> standing_bytes(const Way& way);

  /// The levels of recomputation to try, from 0 on, bytes falling: all there are for a way that
  /// moves nothing, else a few of them. {0} unless the way's policy is `automatic`.
  std::vector<std::size_t> levels(const Way& way);

  /// The way at its first level that fits the budgets; where none does, at the one with the
  /// smallest device tier.
  Way fit(Way way, const config::MemoryConfig& budgets);

  Operations operations(const Way& way);

  const models::Architecture& architecture() const { return architecture_; }

 private:
  struct Graphs;
  struct Programs;
  struct ProgramPrice;
  struct PriceKey;

  Graphs& graphs(const Way& way);
  const std::vector<std::size_t>& targets(const Way& way);
  Programs make_programs(const Way& way, passes::Runner& runner);
  const Programs& programs(const Way& way);
  const ProgramPrice& price(const Way& way, const ir::Graph& graph);
  passes::OffloadOptions offload_options_of(const Way& way) const;
  bool frontier_is_exact(const Way& way) const;
  bool takes_norm_early(const Way& way) const;

  config::RunConfig config_;
  models::Architecture architecture_;
  cost::MachineDescription machine_;
  passes::Runner& runner_;
  passes::Runner quiet_;
  std::unique_ptr<Programs> programs_;  // of the way asked for last
  std::map<std::pair<std::int64_t, config::Recompute>, std::unique_ptr<Graphs>> graphs_;
  std::map<PriceKey, ProgramPrice> prices_;
  std::map<Way, Price> known_;
  std::map<Way, std::array<std::size_t, ir::kTiers>> standing_;
};

}  // namespace bessemer::train

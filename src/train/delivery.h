// How a run's sequences are delivered: from the run file to a loader's options, and the program
// that reads a source in a process of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "config/run_config.h"
#include "cost/machine.h"
#include "data/loader.h"
#include "models/architecture.h"
#include "train/corpus.h"

namespace bessemer::train {

/// The ranks of a step, and the micro-batches of each.
struct RankShape {
  std::int64_t rank = 0;
  std::int64_t ranks = 1;
  std::int64_t micro_batch_size = 1;
};

/// `data.token_pairs` where the run file leaves it open: how many of the pairs that attention looks
/// at take as long, in training on this machine, as all else that a token needs.
std::int64_t token_pairs(const config::RunConfig& config, const models::Architecture& architecture,
                         const cost::MachineDescription& machine);

/// Which sequence goes to which rank; `data.token_pairs` is settled. InputError where the global
/// batch does not divide into micro-batches of all ranks.
data::PlannerOptions planner_options(const config::RunConfig& config, const RankShape& shape);

data::LoaderOptions loader_options(const config::RunConfig& config, const Corpus& corpus,
                                   const RankShape& shape, std::uint64_t first_sequence);

/// Workers of a source. A source that is tokenized on the fly has one process at most: each would
/// have to tokenize the same blocks, since the rows that follow each other are from one.
int most_workers(const config::DataConfig& data, const config::DataSource& source);

/// Bytes of rows that the loader of one rank alone holds: those read ahead, and one for each worker
/// of a source to read into.
std::size_t row_memory(const config::RunConfig& config);

/// `bessemer data serve SOURCE END_OF_TEXT VOCABULARY`: reads a source of the run that descriptor 5
/// describes (a run file) until the trainer has ended.
void serve_source(std::size_t source, const TokenIds& ids);

}  // namespace bessemer::train

// What reading the sources takes in memory beside the rows: kept text of those that are tokenized
// on the fly, and processes that read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "config/run_config.h"

namespace bessemer::train {

/// Bytes in this process, where its threads read, of all sources that are tokenized on the fly:
/// blocks that are kept, and what it takes to make some. 0 without such sources.
std::size_t raw_source_memory(const config::RunConfig& config);

/// What processes hold for themselves, all of them together (the pages of the program and of its
/// libraries are the trainer's too, and do not count again).
struct WorkerProcesses {
  std::size_t most = 0;  // how many there can be; 0 where threads read
  std::size_t bytes = 0;
};
WorkerProcesses worker_processes(const config::RunConfig& config, std::int64_t vocabulary);

}  // namespace bessemer::train

#include "train/source_memory.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "data/raw_dataset.h"
#include "data/source.h"
#include "train/data_options.h"
#include "train/delivery.h"

namespace bessemer::train {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Measured over runs of tests/cli/memory_test.cpp and of the quickstart.
constexpr std::size_t kProcess = 2 * kMiB;  // what it changes of the program's pages, heap, layout
constexpr std::size_t kTokenizer = kMiB;    // apart from its tokens
constexpr std::size_t kToken = 240;         // text, merge, places in tables
constexpr std::size_t kTokenAsRead = 600;   // with what its file is parsed into
constexpr std::size_t kEncoder = 4 * kMiB;  // the words it keeps
constexpr std::size_t kBlocksInMaking = 3;  // text and tokens of a block in the making, in blocks

// As far as it is there already: nothing has to be for a plan.
std::size_t text_bytes(const config::DataSource& source) {
  try {
    std::size_t bytes = 0;
    for (const auto& file : data::expand_path(source.path.string())) {
      bytes += std::filesystem::file_size(file);
    }
    return bytes;
  } catch (const std::exception&) {  // then it can be of any size; training tells what is wrong
    return std::numeric_limits<std::size_t>::max() / 2;
  }
}

// Of tokens and layouts for each byte of text: of English and of code in some 8000 tokens it is 1.
std::size_t kept_bytes(std::size_t text) { return text + text / 2; }

// Of one source that is tokenized on the fly, by so many threads.
std::size_t tokenizing_bytes(const config::RunConfig& config, const config::DataSource& source,
                             std::size_t threads) {
  const std::size_t text = text_bytes(source);
  const std::size_t block =
      std::min(text, std::size_t{data::RawSource::block_bytes_for(config.data.sequence_length)});
  const std::size_t kept = std::min(data::RawDataset::kCacheBytes, kept_bytes(text));
  return kept + threads * (kEncoder + kBlocksInMaking * block);
}

// Of a process that tokenizes a source on the fly.
std::size_t tokenizing_process_bytes(const config::RunConfig& config,
                                     const config::DataSource& source, std::size_t vocabulary) {
  const std::size_t steady = kTokenizer + kToken * vocabulary + tokenizing_bytes(config, source, 1);
  return std::max(steady, kTokenizer + kTokenAsRead * vocabulary);
}

}  // namespace

std::size_t raw_source_memory(const config::RunConfig& config) {
  if (*config.data.workers == config::Workers::processes) return 0;
  std::size_t bytes = 0;
  const auto threads = static_cast<std::size_t>(thread_count());
  for (const config::DataSource& source : config.data.sources) {
    if (is_raw(source)) bytes += tokenizing_bytes(config, source, threads);
  }
  return bytes;
}

WorkerProcesses worker_processes(const config::RunConfig& config, std::int64_t vocabulary) {
  WorkerProcesses workers;
  if (*config.data.workers == config::Workers::threads) return workers;
  for (const config::DataSource& source : config.data.sources) {
    const auto most = static_cast<std::size_t>(most_workers(config.data, source));
    std::size_t bytes = kProcess;
    if (is_raw(source)) {
      bytes += tokenizing_process_bytes(config, source, static_cast<std::size_t>(vocabulary));
    }
    workers.most += most;
    workers.bytes += most * bytes;
  }
  return workers;
}

}  // namespace bessemer::train

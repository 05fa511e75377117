// Resident memory of many sources that feed many ranks of one node: Bessemer's side of
// bench/data/torch_loader_memory.py, which tells what is compared.
//
//   loader_memory --directory DIR [--sources 16] [--ranks 8] [--length 1024] [--batch 4]
//                 [--steps 20] [--workers threads|processes]
//
// Makes DIR/source_N.{bin,idx} where they are not there. Prints one JSON object: bytes (PSS over
// this process and those it started) before there is a loader, and after `steps` steps of all
// ranks.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "data/constructor.h"
#include "data/row_process.h"

namespace bessemer::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kVocabulary = 32000;

struct Options {
  std::string directory;
  std::uint32_t sources = 16;
  std::int64_t ranks = 8, length = 1024, batch = 4;
  std::uint64_t documents = 50'000;
  int steps = 20;
  std::string workers = "threads";
};

fs::path prefix_of(const std::string& directory, std::uint32_t source) {
  return fs::path(directory) / fmt::format("source_{}", source);
}

// Documents of 20 to 300 tokens.
void make_source(const fs::path& prefix, std::uint32_t source, std::uint64_t documents) {
  if (fs::exists(data::idx_path(prefix))) return;
  fs::create_directories(prefix.parent_path());
  const CounterRng lengths(source, 0, 1), tokens(source, 0, 2);
  data::IndexedDatasetWriter writer(prefix, data::token_type_for(kVocabulary));
  std::vector<std::int32_t> document;
  std::uint64_t next = 0;
  for (std::uint64_t d = 0; d < documents; ++d) {
    document.resize(20 + lengths.word(d) % 281);
    for (auto& token : document) {
      token = 1 + static_cast<std::int32_t>(tokens.word(next++) % (kVocabulary - 1));
    }
    writer.append(document);
    writer.end_document();
  }
  writer.finish();
}

std::shared_ptr<const data::SequenceSource> open_source(const fs::path& prefix,
                                                        std::uint32_t source, std::int64_t length) {
  auto tokens = std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  data::DatasetOptions options;
  options.sequence_length = length;
  options.vocabulary = kVocabulary;
  options.source = source;
  return std::make_shared<const data::Dataset>(tokens, data::all_documents(*tokens), options);
}

// This process's children, as the system knows them.
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (pid_t child = 0; list >> child;) found.push_back(child);
  }
  return found;
}

std::uint64_t pss_bytes(const std::string& process) {
  std::ifstream file("/proc/" + process + "/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("Pss:", 0) == 0) return 1024 * std::stoull(line.substr(4));
  }
  return 0;
}

std::uint64_t pss_of_all() {
  ::malloc_trim(0);
  std::uint64_t bytes = pss_bytes("self");
  for (const pid_t child : children()) bytes += pss_bytes(std::to_string(child));
  return bytes;
}

data::Node make_node(const Options& options) {
  std::vector<std::shared_ptr<const data::SequenceSource>> sources;
  for (std::uint32_t s = 0; s < options.sources; ++s) {
    sources.push_back(open_source(prefix_of(options.directory, s), s, options.length));
  }
  const std::vector<double> weights(options.sources, 1.0);
  const std::vector<std::uint64_t> endless(options.sources, data::MixtureSchedule::kEndless);
  auto mixture = std::make_shared<const data::Mixture>(
      std::move(sources), data::MixtureSchedule({{0, weights}}, endless));
  data::NodeOptions node;
  node.prefetch_bytes = std::size_t{16} << 20;
  node.ranks.clear();
  for (std::int64_t r = 0; r < options.ranks; ++r) node.ranks.push_back(r);
  if (options.workers == "processes") {
    node.make_reader = [options](std::uint32_t source) {
      const std::string what = fmt::format("{} {} {}", source, options.length, options.directory);
      return std::make_shared<data::ProcessReader>(
          data::RowProgram{"/proc/self/exe", {"serve"}, what}, options.length);
    };
  }
  return {data::Planner(mixture, {{options.ranks, 1, options.batch}}), std::move(node)};
}

void measure(const Options& options) {
  for (std::uint32_t s = 0; s < options.sources; ++s) {
    make_source(prefix_of(options.directory, s), s, options.documents);
  }
  const std::uint64_t before = pss_of_all();
  data::Node node = make_node(options);
  std::vector<std::unique_ptr<data::Constructor>> ranks;
  for (std::int64_t r = 0; r < options.ranks; ++r) {
    ranks.push_back(std::make_unique<data::Constructor>(node, r));
  }
  std::int64_t valid = 0;
  for (int step = 0; step < options.steps; ++step) {
    for (auto& rank : ranks) valid += rank->next().batch.valid_tokens;
  }
  const std::uint64_t after = pss_of_all();
  std::cout << nlohmann::json{{"design", "bessemer, " + options.workers},
                              {"processes", 1 + children().size()},
                              {"tokens", valid},
                              {"bytes_before", before},
                              {"bytes_after", after}}
                   .dump()
            << "\n";
}

// A process of `make_node`'s.
void serve() {
  data::serve_rows([] {
    std::ifstream what(fmt::format("/proc/self/fd/{}", data::kDescriptionDescriptor));
    std::uint32_t source = 0;
    std::int64_t length = 0;
    std::string directory;
    what >> source >> length >> directory;
    return open_source(prefix_of(directory, source), source, length);
  });
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "serve") {
    serve();
    return 0;
  }
  Options options;
  CLI::App app("Resident memory of sources and ranks");
  app.add_option("--directory", options.directory)->required();
  app.add_option("--sources", options.sources);
  app.add_option("--ranks", options.ranks);
  app.add_option("--length", options.length);
  app.add_option("--batch", options.batch);
  app.add_option("--documents", options.documents);
  app.add_option("--steps", options.steps);
  app.add_option("--workers", options.workers)->check(CLI::IsMember({"threads", "processes"}));
  CLI11_PARSE(app, argc, argv);
  measure(options);
  return 0;
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  try {
    return bessemer::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

// Delivered tokens per second on one core, Bessemer's side of bench/data/run. Protocol: "DATA" says
// what is delivered; then each line of standard input asks for a turn and gets one JSON object
// {"tokens", "seconds"} back.
//
//   built   batches of rows (tokens, targets, positions, visibility) from token files
//   raw     the same from text: tokenizer given, token files built anew in each turn, one epoch
//   read
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/log.h"
#include "base/parallel.h"
#include "base/temporary_directory.h"
#include "data/build.h"
#include "data/dataset.h"
#include "data/tokenizer_file.h"

namespace {

using namespace bessemer;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Options {
  std::string way = "built";
  std::vector<std::string> text;
  std::string tokenizer;
  std::int64_t length = 1024, batch = 8;
  double seconds = 1;
};

data::BuildOptions build_options(const Options& options, const std::filesystem::path& directory) {
  data::BuildOptions build;
  for (std::size_t i = 0; i < options.text.size(); ++i) {
    build.sources.push_back({"source" + std::to_string(i), options.text[i]});
  }
  build.directory = directory;
  build.tokenizer = options.tokenizer;
  return build;
}

std::shared_ptr<const data::Dataset> open(const Options& options, const data::BuiltCorpus& built,
                                          std::size_t source) {
  const data::Tokenizer tokenizer = data::load_tokenizer(built.tokenizer);
  auto tokens = std::make_shared<const data::IndexedDataset>(
      data::IndexedDataset::open(built.sources[source].prefix));
  data::DatasetOptions dataset;
  dataset.sequence_length = options.length;
  dataset.end_of_text = tokenizer.end_of_text();
  dataset.vocabulary = tokenizer.vocabulary_size();
  dataset.packing = data::Packing::best_fit;
  return std::make_shared<const data::Dataset>(tokens, data::all_documents(*tokens), dataset);
}

// Fills batch after batch in the same memory.
class Reader {
 public:
  explicit Reader(const Options& options)
      : length_(static_cast<std::size_t>(options.length)),
        batch_(static_cast<std::size_t>(options.batch)),
        rows_(5 * length_ * batch_) {}

  std::uint64_t fill(const data::Dataset& dataset, std::uint64_t first) {
    const std::span<std::int32_t> all(rows_);
    const std::size_t field = length_ * batch_;
    for (std::size_t b = 0; b < batch_; ++b) {
      const auto row = [&](std::size_t f) { return all.subspan(f * field + b * length_, length_); };
      dataset.read(first + b,
                   {row(0), row(1), row(2), all.subspan(3 * field + 2 * b * length_, 2 * length_)});
    }
    return field;
  }

 private:
  std::size_t length_, batch_;
  std::vector<std::int32_t> rows_;
};

std::string turn_built(const Options& options, const data::Dataset& dataset, Reader& reader,
                       std::uint64_t& next) {
  const auto start = Clock::now();
  std::uint64_t tokens = 0;
  while (since(start) < options.seconds) {
    tokens += reader.fill(dataset, next);
    next += static_cast<std::uint64_t>(options.batch);
  }
  return fmt::format("{{\"tokens\": {}, \"seconds\": {}}}", tokens, since(start));
}

std::string turn_raw(const Options& options, Reader& reader) {
  const TemporaryDirectory directory;
  const auto start = Clock::now();
  const data::BuiltCorpus built = data::build_corpus(build_options(options, directory.path()));
  std::uint64_t tokens = 0;
  for (std::size_t s = 0; s < built.sources.size(); ++s) {
    const auto dataset = open(options, built, s);
    for (std::uint64_t n = 0; n < dataset->sequences();
         n += static_cast<std::uint64_t>(options.batch)) {
      tokens += reader.fill(*dataset, n);
    }
  }
  return fmt::format("{{\"tokens\": {}, \"seconds\": {}}}", tokens, since(start));
}

int run(const Options& options) {
  set_thread_count(1);
  log::set_level(log::Level::warn);
  Reader reader(options);
  const TemporaryDirectory directory;
  std::shared_ptr<const data::Dataset> dataset;
  if (options.way == "built") {
    dataset = open(options, data::build_corpus(build_options(options, directory.path())), 0);
  }
  std::uint64_t next = 0;
  std::cout << fmt::format("{{\"way\": \"bessemer {}\"}}", options.way) << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << (dataset ? turn_built(options, *dataset, reader, next) : turn_raw(options, reader))
              << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Delivered tokens per second");
  app.add_option("--way", options.way)->check(CLI::IsMember({"built", "raw"}));
  app.add_option("--text", options.text)->required();
  app.add_option("--tokenizer", options.tokenizer)->required();
  app.add_option("--length", options.length);
  app.add_option("--batch", options.batch);
  app.add_option("--seconds", options.seconds);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

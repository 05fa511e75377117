// Bessemer's side of bench/data/tokenizer_speed.py: encodes the documents of some files on demand.
//
//   tokenize_speed --tokenizer tokenizer.json --threads 2 a.jsonl b.jsonl
//
// A number on standard input asks for so many passes over all documents; one JSON object a line
// answers. Each pass starts with empty word caches.
#include <chrono>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/parallel.h"
#include "data/parallel.h"
#include "data/source.h"
#include "data/tokenizer_file.h"

namespace bessemer::bench {
namespace {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::vector<std::string> read_documents(const std::vector<std::string>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    const auto found = data::expand_path(path);
    files.insert(files.end(), found.begin(), found.end());
  }
  data::DocumentReader reader(files, {});
  std::vector<std::string> documents;
  for (data::Piece piece; reader.next(piece);) documents.push_back(std::move(piece.text));
  return documents;
}

void pass(const data::Tokenizer& tokenizer, const std::vector<std::string>& documents) {
  std::size_t bytes = 0;
  for (const std::string& document : documents) bytes += document.size();
  const auto start = std::chrono::steady_clock::now();
  const double processor = processor_seconds();
  std::vector<data::Encoder> encoders;
  for (int t = 0; t < thread_count(); ++t) encoders.emplace_back(tokenizer);
  std::vector<std::vector<std::int32_t>> ids(documents.size());
  data::parallel_throwing(static_cast<std::int64_t>(documents.size()),
                          [&](std::int64_t i, int thread) {
                            const auto at = static_cast<std::size_t>(i);
                            encoders[static_cast<std::size_t>(thread)].encode(
                                documents[at], data::AddedTokens::as_ids, ids[at]);
                          });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::size_t tokens = 0;
  for (const auto& one : ids) tokens += one.size();
  std::cout << fmt::format(
                   R"({{"seconds": {}, "processor_seconds": {}, "bytes": {}, "tokens": {}}})",
                   seconds.count(), processor_seconds() - processor, bytes, tokens)
            << std::endl;
}

int run(int argc, char** argv) {
  std::string tokenizer_path;
  std::vector<std::string> files;
  int threads = 1;
  CLI::App app("Encodes documents on demand");
  app.add_option("--tokenizer", tokenizer_path)->required();
  app.add_option("--threads", threads);
  app.add_option("FILES", files)->required();
  CLI11_PARSE(app, argc, argv);
  set_thread_count(threads);
  const data::Tokenizer tokenizer = data::load_tokenizer(tokenizer_path);
  const std::vector<std::string> documents = read_documents(files);
  for (int passes = 0; std::cin >> passes;) {
    for (int i = 0; i < passes; ++i) pass(tokenizer, documents);
  }
  return 0;
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) { return bessemer::bench::run(argc, argv); }

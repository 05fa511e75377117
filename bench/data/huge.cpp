// What a large corpus takes: time and resident memory of opening it, first and again, and of random
// access. The token files are sparse: an index in full, tokens that take no room.
//
//   build/data_huge [DOCUMENTS [TOKENS_A_DOCUMENT]]
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/temporary_directory.h"
#include "data/dataset.h"
#include "train/resident.h"

namespace {

using namespace bessemer;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void write_sparse(const std::filesystem::path& prefix, std::uint64_t documents,
                  std::uint64_t tokens) {
  const CounterRng random(1, 0, 0);
  std::uint64_t bytes = 0;
  data::write_index(data::idx_path(prefix), data::TokenType::uint16,
                    [&](const data::LengthVisitor& visitor) {
                      bytes = 0;
                      for (std::uint64_t d = 0; d < documents; ++d) {
                        const std::uint64_t length = 1 + random.word(d) % (2 * tokens);
                        bytes += 2 * length;
                        visitor(length);
                      }
                    });
  FileWriter bin(data::bin_path(prefix));
  bin.close();
  std::filesystem::resize_file(data::bin_path(prefix), bytes);
  fmt::print("{} documents, {:.1f} GB of tokens, {:.2f} GB of index\n", documents,
             static_cast<double>(bytes) / 1e9,
             static_cast<double>(std::filesystem::file_size(data::idx_path(prefix))) / 1e9);
}

struct Opened {
  std::shared_ptr<const data::IndexedDataset> tokens;
  std::unique_ptr<data::Dataset> training;
};

Opened open(const std::filesystem::path& prefix, const char* what) {
  const std::size_t before = train::resident_without_slack();
  const auto start = Clock::now();
  Opened opened;
  opened.tokens = std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  const double index = since(start);
  data::DatasetOptions options;
  options.sequence_length = 1024;
  options.vocabulary = 50257;
  options.end_of_text = 50256;
  options.packing = data::Packing::best_fit;
  options.layouts = prefix;
  opened.training = std::make_unique<data::Dataset>(
      opened.tokens, data::split_documents(*opened.tokens, 0, 0.02).train, options);
  fmt::print(
      "{}: index checked in {:.3f} s, all in {:.3f} s, resident {:+.1f} MB\n", what, index,
      since(start),
      (static_cast<double>(train::resident_without_slack()) - static_cast<double>(before)) / 1e6);
  return opened;
}

void read(const data::Dataset& dataset) {
  std::vector<std::int32_t> row(5 * 1024);
  const std::span<std::int32_t> all(row);
  const std::size_t before = train::resident_without_slack();
  constexpr std::uint64_t kRows = 20'000;
  const auto start = Clock::now();
  for (std::uint64_t n = 0; n < kRows; ++n) {
    dataset.read(n * 1'000'003, {all.first(1024), all.subspan(1024, 1024), all.subspan(2048, 1024),
                                 all.last(2048)});
  }
  const double seconds = since(start);
  fmt::print(
      "{} sequences at random: {:.1f} us each, {:.1f} Mtok/s, resident {:+.1f} MB\n", kRows,
      1e6 * seconds / kRows, kRows * 1024 / seconds / 1e6,
      (static_cast<double>(train::resident_without_slack()) - static_cast<double>(before)) / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  log::set_level(log::Level::warn);
  const TemporaryDirectory directory;
  const auto prefix = directory.path() / "huge";
  write_sparse(prefix, argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20'000'000,
               argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 500);
  open(prefix, "first");
  const Opened again = open(prefix, "again");
  read(*again.training);
  return EXIT_SUCCESS;
}

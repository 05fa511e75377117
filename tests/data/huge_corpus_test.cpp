// A corpus of 20 GB, in sparse files: what it takes does not grow with it.
#include <fstream>
#include <optional>

#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "data/data_directory.h"
#include "data/dataset.h"
#include "data/mixture.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kDocuments = 400'000;
constexpr std::int64_t kLength = 16384;

/// Bytes that are resident, without what the heap keeps for later.
std::size_t resident() {
  ::malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Calls that have read from files so far; nothing where the system does not tell.
std::optional<std::uint64_t> read_calls() {
  std::ifstream io("/proc/self/io");
  std::string name;
  for (std::uint64_t value = 0; io >> name >> value;) {
    if (name == "syscr:") return value;
  }
  return std::nullopt;
}

class HugeCorpusTest : public testing::Test {
 protected:
  void SetUp() override {
    const CounterRng random(1, 0, 0);
    std::uint64_t bytes = 0;
    write_index(idx_path(prefix()), TokenType::uint16, [&](const LengthVisitor& visitor) {
      bytes = 0;
      for (std::uint64_t d = 0; d < kDocuments; ++d) {
        const std::uint64_t length = 1 + random.word(d) % 50'000;
        bytes += 2 * length;
        visitor(length);
      }
    });
    directory_.write("huge.bin", "");
    std::error_code code;
    fs::resize_file(bin_path(prefix()), bytes, code);
    struct stat info {};
    const bool sparse = !code && ::stat(bin_path(prefix()).c_str(), &info) == 0 &&
                        static_cast<std::uint64_t>(info.st_blocks) * 512 < bytes / 100;
    if (!sparse) GTEST_SKIP() << "no sparse files in " << directory_.path();
    EXPECT_GT(bytes, 19'500'000'000u);
  }

  std::shared_ptr<const Dataset> open(Packing packing) const {
    auto tokens = std::make_shared<const IndexedDataset>(IndexedDataset::open(prefix()));
    DatasetOptions options;
    options.sequence_length = kLength;
    options.vocabulary = 50257;
    options.end_of_text = 50256;
    options.packing = packing;
    options.layouts = prefix();
    return std::make_shared<const Dataset>(tokens, split_documents(*tokens, 5, 0.02).train,
                                           options);
  }

  fs::path prefix() const { return directory_.path() / "huge"; }

  DataDirectory directory_;
};

/// A row to read into.
struct Row {
  std::vector<std::int32_t> numbers = std::vector<std::int32_t>(5 * kLength);
  SequenceView view() {
    constexpr auto n = static_cast<std::size_t>(kLength);
    const std::span<std::int32_t> all(numbers);
    return {all.first(n), all.subspan(n, n), all.subspan(2 * n, n), all.last(2 * n)};
  }
};

TEST_F(HugeCorpusTest, TakesNoMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps memory that was given back";
#endif
  // The layout has a million parts: in memory it would take 20 MB, and the documents 18 MB more.
  constexpr std::size_t kBound = 4 << 20;
  Row row;
  row.numbers.assign(row.numbers.size(), 1);
  for (const Packing packing : {Packing::best_fit, Packing::concatenate}) {
    for (const char* what : {"first", "again"}) {
      const std::size_t before = resident();
      const auto dataset = open(packing);
      EXPECT_LT(resident(), before + kBound) << what << " opened";
      EXPECT_GT(dataset->sequences(), 590'000u);
      for (std::uint64_t n = 0; n < 300; ++n) dataset->read(n * 1'000'003, row.view());
      EXPECT_LT(resident(), before + kBound) << what << " read";
    }
  }
}

TEST_F(HugeCorpusTest, AnyPositionTakesTheSameFewReads) {
  const auto dataset = open(Packing::best_fit);
  const Mixture mixture({dataset}, MixtureSchedule({{0, {1.0}}}, {MixtureSchedule::kEndless}));
  if (!read_calls()) GTEST_SKIP() << "the system does not count reads";
  Row row;
  for (const std::uint64_t step : {0ull, 1'000'000ull, 1'000'000'000'000ull}) {
    std::uint64_t parts = 0;
    mixture.visit(8 * step, [&](const Origin&) { ++parts; });
    const std::uint64_t before = *read_calls();
    mixture.read(8 * step, row.view());
    // Two for the sequence, for each part its place, its length, its tokens and the next one; the
    // counter itself takes some.
    EXPECT_LE(*read_calls() - before, 2 + 4 * parts + parts / 64 + 8) << step;
  }
}

}  // namespace
}  // namespace bessemer::data

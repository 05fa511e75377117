#include "data/layout_file.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "data/data_directory.h"
#include "data/dataset.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kDocuments = 80000;

/// 80,000 documents of 1 to 40 tokens: enough that their layouts are kept in files.
std::shared_ptr<const IndexedDataset> many_documents(const fs::path& prefix, std::uint64_t seed) {
  const CounterRng random(seed, 0, 0);
  IndexedDatasetWriter writer(prefix, TokenType::uint16);
  std::vector<std::int32_t> tokens;
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    tokens.assign(1 + random.word(d) % 40, static_cast<std::int32_t>(1 + d % 999));
    writer.append(tokens);
    writer.end_document();
  }
  writer.finish();
  return std::make_shared<const IndexedDataset>(IndexedDataset::open(prefix));
}

DatasetOptions options(Packing packing) {
  DatasetOptions made;
  made.sequence_length = 64;
  made.vocabulary = 1000;
  made.packing = packing;
  made.seed = 3;
  return made;
}

std::vector<std::int32_t> sequence(const Dataset& dataset, std::uint64_t n) {
  std::vector<std::int32_t> row(5 * 64);
  const std::span<std::int32_t> all(row);
  dataset.read(n, {all.first(64), all.subspan(64, 64), all.subspan(128, 64), all.last(128)});
  return row;
}

class LayoutFileTest : public testing::Test {
 protected:
  LayoutFileTest() : tokens_(many_documents(directory_.path() / "many", 1)) {}

  Dataset dataset(Packing packing, const fs::path& layouts, double validation = 0.1) {
    DatasetOptions made = options(packing);
    made.layouts = layouts;
    return Dataset(tokens_, split_documents(*tokens_, 7, validation).train, made);
  }
  fs::path prefix() const { return directory_.path() / "many"; }

  DataDirectory directory_;
  std::shared_ptr<const IndexedDataset> tokens_;
};

TEST_F(LayoutFileTest, AStoredLayoutIsTheOneInMemory) {
  for (const Packing packing : {Packing::best_fit, Packing::concatenate}) {
    const Dataset memory = dataset(packing, {});
    EXPECT_TRUE(layout_files(prefix()).empty());
    const Dataset made = dataset(packing, prefix());
    const auto files = layout_files(prefix());
    ASSERT_EQ(files.size(), 1u);
    const auto time = fs::last_write_time(files[0]);
    const Dataset opened = dataset(packing, prefix());
    EXPECT_EQ(fs::last_write_time(files[0]), time);
    for (const Dataset* stored : {&made, &opened}) {
      ASSERT_EQ(stored->sequences(), memory.sequences());
      EXPECT_EQ(stored->tokens(), memory.tokens());
      EXPECT_EQ(stored->padding(), memory.padding());
      for (std::uint64_t n = 0; n < memory.sequences(); n += 37) {
        ASSERT_EQ(sequence(*stored, n), sequence(memory, n)) << n;
      }
    }
    fs::remove(files[0]);
  }
}

TEST_F(LayoutFileTest, OtherTokensAndOtherSplitsHaveOtherLayouts) {
  dataset(Packing::best_fit, prefix());
  dataset(Packing::best_fit, prefix(), 0.2);
  EXPECT_EQ(layout_files(prefix()).size(), 2u);
  tokens_ = many_documents(prefix(), 2);
  dataset(Packing::best_fit, prefix());
  EXPECT_EQ(layout_files(prefix()).size(), 3u);
}

TEST_F(LayoutFileTest, BrokenFilesAreMadeAnewOrNamed) {
  const Dataset memory = dataset(Packing::best_fit, {});
  dataset(Packing::best_fit, prefix());
  const fs::path path = layout_files(prefix())[0];
  const std::string whole = read_file(path);
  for (const std::size_t size : {std::size_t{0}, std::size_t{71}, whole.size() - 1}) {
    fs::resize_file(path, size);
    EXPECT_EQ(sequence(dataset(Packing::best_fit, prefix()), 5), sequence(memory, 5));
    EXPECT_TRUE(read_file(path) == whole);
  }
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::string bytes = whole;
    const CounterRng random(seed, 0, 0);
    for (std::uint64_t i = 0; i < 20000; ++i) {
      bytes[random.word(2 * i) % (bytes.size() - 72)] = static_cast<char>(random.word(2 * i + 1));
    }
    write_file_atomically(path, bytes);
    const Dataset broken = dataset(Packing::best_fit, prefix());
    for (std::uint64_t n = 0; n < 50; ++n) {
      const std::string message = input_error_of([&] { sequence(broken, n); });
      EXPECT_TRUE(message.empty() || message.find("remove") != message.npos) << message;
    }
  }
}

TEST_F(LayoutFileTest, WhereNoFileCanBeWrittenMemoryDoes) {
  directory_.write("in_the_way", "");
  const Dataset made = dataset(Packing::best_fit, directory_.path() / "in_the_way" / "many");
  EXPECT_EQ(sequence(made, 9), sequence(dataset(Packing::best_fit, {}), 9));
}

}  // namespace
}  // namespace bessemer::data

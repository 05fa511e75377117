#include "data/indexed_dataset.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/data_directory.h"

namespace bessemer::data {
namespace {

using Ids = std::vector<std::int32_t>;

const std::vector<Ids> kDocuments{{1, 2, 3}, {}, {65535, 0}, {7}};

void write_documents(const std::filesystem::path& prefix, TokenType type) {
  IndexedDatasetWriter writer(prefix, type);
  for (const Ids& document : kDocuments) {
    for (const std::int32_t& token : document) writer.append(std::span(&token, 1));
    writer.end_document();
  }
  writer.finish();
}

std::vector<Ids> read_documents(const IndexedDataset& dataset) {
  std::vector<Ids> documents;
  for (std::uint64_t d = 0; d < dataset.documents(); ++d) {
    documents.emplace_back(dataset.length(d));
    dataset.read(d, 0, documents.back());
  }
  return documents;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(IndexedDataset, ReadsWhatWasWritten) {
  const DataDirectory directory;
  for (const TokenType type : {TokenType::uint16, TokenType::int32}) {
    write_documents(directory.path() / "d", type);
    const auto dataset = IndexedDataset::open(directory.path() / "d");
    EXPECT_EQ(dataset.type(), type);
    EXPECT_EQ(dataset.tokens(), 6u);
    EXPECT_EQ(read_documents(dataset), kDocuments);
    Ids part(2);
    dataset.read(0, 1, part);
    EXPECT_EQ(part, (Ids{2, 3}));
    EXPECT_THROW(dataset.read(0, 2, part), Error);
  }
}

TEST(IndexedDataset, IsMegatronsFormatByteForByte) {
  const DataDirectory directory;
  IndexedDatasetWriter writer(directory.path() / "d", TokenType::uint16);
  writer.append(Ids{258, 3});
  writer.end_document();
  writer.finish();
  using std::string_literals::operator""s;
  const std::string expected = "MMIDIDX\0\0"s + "\1\0\0\0\0\0\0\0"s + "\x08"s +
                               "\1\0\0\0\0\0\0\0"s + "\2\0\0\0\0\0\0\0"s + "\2\0\0\0"s +
                               "\0\0\0\0\0\0\0\0"s + "\0\0\0\0\0\0\0\0"s + "\1\0\0\0\0\0\0\0"s;
  EXPECT_EQ(read_file(directory.path() / "d.idx"), expected);
  EXPECT_EQ(read_file(directory.path() / "d.bin"), "\2\1\3\0"s);
}

TEST(IndexedDataset, NothingAppearsBeforeItIsWhole) {
  const DataDirectory directory;
  {
    IndexedDatasetWriter writer(directory.path() / "d", TokenType::int32);
    writer.append(Ids{1, 2});
    writer.end_document();
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

class Corruption : public testing::Test {
 protected:
  Corruption() {
    write_documents(directory_.path() / "d", TokenType::int32);
    idx_ = read_file(directory_.path() / "d.idx");
    bin_ = read_file(directory_.path() / "d.bin");
  }

  std::string open(const std::string& idx, const std::string& bin) const {
    return input_error_of([&] { IndexedDataset::from_bytes(bytes_of(idx), bytes_of(bin), "d"); });
  }

  template <typename T>
  std::string with(std::size_t place, T value) const {
    std::string idx = idx_;
    std::memcpy(idx.data() + place, &value, sizeof value);
    return open(idx, bin_);
  }

  DataDirectory directory_;
  std::string idx_, bin_;
};

TEST_F(Corruption, TruncationAnywhereIsNoticed) {
  ASSERT_EQ(open(idx_, bin_), "");
  for (std::size_t n = 0; n < idx_.size(); ++n) {
    EXPECT_EQ(open(idx_.substr(0, n), bin_).find("d.idx: "), 0u) << n;
  }
  for (std::size_t n = 0; n < bin_.size(); ++n) {
    EXPECT_NE(open(idx_, bin_.substr(0, n)).find("lie outside d.bin"), std::string::npos) << n;
  }
}

TEST_F(Corruption, FieldsThatLieAreNamed) {
  constexpr std::size_t kLengths = 34, kPointers = kLengths + 4 * 4, kIndices = kPointers + 4 * 8;
  const std::int64_t large = std::numeric_limits<std::int64_t>::max();
  const struct {
    std::string message, expected;
  } rows[] = {
      {with(0, 'X'), "byte 0: not a Megatron index"},
      {with(9, std::uint64_t{2}), "byte 9: version 2"},
      {with(17, std::uint8_t{5}), "byte 17: token type 5"},
      {with(18, std::uint64_t{5}), "byte 18: 5 sequences"},
      {with(18, ~std::uint64_t{0}), "byte 18: 18446744073709551615 sequences"},
      {with(18, std::uint64_t{1} << 62), "byte 18"},
      {with(18, std::uint64_t{3}), ""},
      {with(26, std::uint64_t{6}), "byte 18"},
      {with(26, ~std::uint64_t{0}), "byte 18"},
      {with(26, std::uint64_t{0}), "no document indices"},
      {with(26, std::uint64_t{4}), "the last document index is 3, expected 4"},
      {with(kLengths, std::int32_t{-1}), "sequence 0: length -1"},
      {with(kLengths, std::int32_t{2147483647}), "sequence 0: 2147483647 tokens at byte 0 lie"},
      {with(kPointers, large), "lie outside d.bin (24 bytes)"},
      {with(kPointers, std::int64_t{-8}), "at byte -8 lie outside"},
      {with(kPointers, std::int64_t{24}), "sequence 0: 3 tokens at byte 24 lie outside"},
      {with(kIndices, std::int64_t{1}), "document index 0 is 1"},
      {with(kIndices + 8, std::int64_t{9}), "document 0: sequences 0 to 9 of 4"},
      {with(kIndices + 8, std::int64_t{-1}), "document 0"},
      {with(kIndices + 16, std::int64_t{0}), "document 1: sequences 1 to 0 of 4"},
      {with(kIndices + 32, std::int64_t{3}), "the last document index is 3"},
  };
  for (const auto& row : rows) {
    EXPECT_NE(row.message.find(row.expected), std::string::npos) << row.message;
    EXPECT_EQ(row.message.find("d.idx: "), 0u) << row.expected;
  }
}

TEST_F(Corruption, AnyFlippedBitIsSurvived) {
  for (std::size_t bit = 0; bit < 8 * idx_.size(); ++bit) {
    std::string idx = idx_;
    idx[bit / 8] = static_cast<char>(idx[bit / 8] ^ (1 << bit % 8));
    try {
      read_documents(IndexedDataset::from_bytes(bytes_of(idx), bytes_of(bin_), "d"));
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).find("d.idx: "), 0u);
    }
  }
}

TEST(IndexedDataset, DocumentsOfSeveralSequences) {
  const DataDirectory directory;
  IndexedDatasetWriter writer(directory.path() / "d", TokenType::uint16);
  for (const Ids& sequence : {Ids{1, 2}, Ids{3}, Ids{4, 5}}) {
    writer.append(sequence);
    writer.end_document();
  }
  writer.finish();
  std::string idx = read_file(directory.path() / "d.idx");
  const std::int64_t documents[] = {0, 2, 3};
  const std::uint64_t count = 3;
  std::memcpy(idx.data() + 26, &count, 8);
  std::memcpy(idx.data() + 34 + 3 * 12, documents, sizeof documents);
  const std::string bin = read_file(directory.path() / "d.bin");
  const auto dataset = IndexedDataset::from_bytes(bytes_of(idx), bytes_of(bin), "d");
  EXPECT_EQ(read_documents(dataset), (std::vector<Ids>{{1, 2, 3}, {4, 5}}));
}

}  // namespace
}  // namespace bessemer::data

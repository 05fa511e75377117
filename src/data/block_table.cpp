#include "data/block_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include <xxhash.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "BSMBLOCK";
constexpr std::size_t kHeader = kMagic.size() + 3 * sizeof(std::uint64_t);

// One file's part of a table.
class FileScan {
 public:
  FileScan(BlockTable& table, std::uint32_t file, std::uint64_t block_bytes)
      : table_(table), file_(file), block_bytes_(block_bytes) {}

  /// A record, and where the next one may begin.
  void add(const Record& record, std::uint64_t end) {
    if (!open_) {
      table_.blocks.push_back({record.offset, 0, table_.records, record.line, file_, 0});
      open_ = true;
    }
    Block& block = table_.blocks.back();
    ++block.records;
    ++table_.records;
    block.bytes = end - block.offset;
    open_ = block.bytes < block_bytes_;
  }

 private:
  BlockTable& table_;
  std::uint32_t file_;
  std::uint64_t block_bytes_;
  bool open_ = false;
};

}  // namespace

const Block& BlockTable::of(std::uint64_t record) const {
  require(record < records, "record {} of {}", record, records);
  const auto after = std::upper_bound(
      blocks.begin(), blocks.end(), record,
      [](std::uint64_t number, const Block& block) { return number < block.first_record; });
  return *std::prev(after);
}

BlockTable scan_blocks(const std::vector<fs::path>& files, std::uint64_t block_bytes,
                       const RecordVisitor& visit, const std::function<void(std::uint64_t)>& read) {
  BlockTable table;
  std::uint64_t before = 0;
  Record record;
  for (std::uint32_t file = 0; file < files.size(); ++file) {
    RecordReader reader(open_stream(files[file]), format_of(files[file]), 0, 1,
                        RecordReader::End::of_file);
    FileScan scan(table, file, block_bytes);
    while (reader.next(record)) {
      const std::uint64_t number = table.records;
      require_input(number < std::numeric_limits<std::uint32_t>::max() - 1,
                    "{}: more than 2^32 - 2 documents; divide the source", files[file].string());
      scan.add(record, reader.offset());
      visit(record, number, file);
      if (read) read(before + reader.offset());
    }
    before += reader.offset();
  }
  require_input(table.records > 0, "{}{}: no documents: every file is empty; give a path with text",
                files.empty() ? "(no file)" : files.front().string(),
                files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "");
  return table;
}

void save_blocks(const BlockTable& table, const fs::path& path) {
  std::string bytes(kMagic);
  const auto put = [&bytes](const auto* values, std::size_t count) {
    bytes.append(reinterpret_cast<const char*>(values), count * sizeof *values);
  };
  const std::array<std::uint64_t, 3> header{table.blocks.size(), table.records, table.validates};
  put(header.data(), header.size());
  put(table.blocks.data(), table.blocks.size());
  const std::uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  put(&hash, 1);
  write_file_atomically(path, bytes);
}

std::optional<BlockTable> load_blocks(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  const std::string bytes = read_file(path);
  std::uint64_t hash = 0;
  if (bytes.size() < kHeader + sizeof hash || !bytes.starts_with(kMagic)) return std::nullopt;
  const std::size_t end = bytes.size() - sizeof hash;
  std::memcpy(&hash, bytes.data() + end, sizeof hash);
  if (hash != XXH3_64bits(bytes.data(), end)) return std::nullopt;
  std::array<std::uint64_t, 3> header;
  std::memcpy(header.data(), bytes.data() + kMagic.size(), sizeof header);
  if ((end - kHeader) / sizeof(Block) != header[0]) return std::nullopt;
  BlockTable table;
  table.blocks.resize(header[0]);
  if (header[0] > 0) {
    std::memcpy(table.blocks.data(), bytes.data() + kHeader, header[0] * sizeof(Block));
  }
  table.records = header[1];
  table.validates = header[2];
  return table;
}

}  // namespace bessemer::data

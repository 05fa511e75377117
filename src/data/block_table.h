// Where the records of plain corpus files are, block by block, so that any of them can be read
// without those in front.
//
// PREFIX.blocks: 8 bytes "BSMBLOCK", u64 number of blocks, u64 records, u64 the one record
// that validates whatever it draws (kNone: no such), the blocks as in the struct below, and u64 the
// XXH3 of all that. Little-endian. 40 bytes for each MiB or so of a corpus.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "data/record_reader.h"

namespace bessemer::data {

/// Whole records of one file.
struct Block {
  std::uint64_t offset = 0, bytes = 0;  // in the file
  std::uint64_t first_record = 0;       // of all files, from 0
  std::uint64_t first_line = 0;         // of the file, from 1
  std::uint32_t file = 0;
  std::uint32_t records = 0;
};

struct BlockTable {
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  std::vector<Block> blocks;
  std::uint64_t records = 0;
  std::uint64_t validates = kNone;

  /// The block of a record.
  const Block& of(std::uint64_t record) const;
};

using RecordVisitor = std::function<void(const Record&, std::uint64_t number, std::uint32_t file)>;

/// Reads all files through once. A block ends with the first record that makes it `block_bytes`
/// long, or with its file. `read`, where given, is told the bytes read so far. InputError where no
/// file has a record, or there are 2^32 - 1 or more.
BlockTable scan_blocks(const std::vector<std::filesystem::path>& files, std::uint64_t block_bytes,
                       const RecordVisitor& visit, const std::function<void(std::uint64_t)>& read);

/// Whole or not at all.
void save_blocks(const BlockTable& table, const std::filesystem::path& path);

/// Nothing where the file is not there, or damaged.
std::optional<BlockTable> load_blocks(const std::filesystem::path& path);

}  // namespace bessemer::data

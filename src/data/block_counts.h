// PREFIX.counts: what the blocks of a raw source gave when they were tokenized, learned one after
// the other as they are read, so that a sequence's place need not be found by reading again.
//
//   magic    8 bytes "BSMCOUNT"
//   digest   32 characters, of what the counts depend on
//   entries  one for each block that was tokenized, in any order, as `Entry` in block_counts.cpp,
//            each with a checksum of its own
//
// Several processes read and extend one file at a time: whoever does holds a lock (flock), and
// learns what the others have added. A crash loses an entry at the most. What is damaged is left
// out when the file is opened, and learned again. Losing the file costs time and changes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"

namespace bessemer::data {

inline constexpr std::size_t kLengthBuckets = 16;

/// What a block gives. `lengths` are documents of 2^i to 2^(i+1) - 1 tokens, the last open.
struct BlockSummary {
  std::uint32_t sequences = 0, documents = 0, bad_records = 0;
  std::uint64_t tokens = 0, trained = 0, text_bytes = 0, padding = 0;
  std::array<std::uint32_t, kLengthBuckets> lengths{};
};

/// Sums over blocks.
struct BlockTotals {
  std::uint64_t blocks = 0, sequences = 0, documents = 0, bad_records = 0;
  std::uint64_t tokens = 0, trained = 0, text_bytes = 0, padding = 0;
  std::array<std::uint64_t, kLengthBuckets> lengths{};
};

/// For one thread at a time.
class BlockCounts {
 public:
  enum class Access { extend, read_only };

  /// Entries of another digest are forgotten, and damaged ones removed where this may extend the
  /// file. InputError where it cannot be opened for that.
  BlockCounts(std::filesystem::path path, const std::string& digest, std::size_t blocks,
              Access access);
  BlockCounts(const BlockCounts&) = delete;
  BlockCounts& operator=(const BlockCounts&) = delete;

  bool knows(std::size_t block) const { return sequences_[block] != kUnknown; }
  std::uint32_t sequences(std::size_t block) const { return sequences_[block]; }
  const BlockTotals& totals() const { return totals_; }
  std::size_t blocks() const { return sequences_.size(); }

  /// A block that is not known yet.
  void add(std::size_t block, const BlockSummary& summary);

  /// Learns what other processes have added meanwhile.
  void refresh();

 private:
  static constexpr std::uint32_t kUnknown = ~std::uint32_t{0};

  void note(std::size_t block, const BlockSummary& summary);
  bool take(std::string_view bytes);
  void load(const std::string& header);
  void read_on();
  void append(std::string_view bytes);

  std::filesystem::path path_;
  Access access_;
  std::vector<std::uint32_t> sequences_;  // by block
  BlockTotals totals_;
  std::optional<FileLock> file_;  // absent: it is not there
  std::uint64_t read_ = 0;        // bytes of the file that were read: whole entries
};

}  // namespace bessemer::data

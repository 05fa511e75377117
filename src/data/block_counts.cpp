#include "data/block_counts.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "BSMCOUNT";

struct Entry {
  std::uint32_t block, sequences, documents, bad_records;
  std::uint64_t tokens, trained, text_bytes, padding;
  std::array<std::uint32_t, kLengthBuckets> lengths;
  std::uint64_t checksum;  // XXH3 of what is in front of it
};
static_assert(sizeof(Entry) == 120, "no padding: entries are written as they are");

std::uint64_t checksum_of(const Entry& entry) {
  return XXH3_64bits(&entry, offsetof(Entry, checksum));
}

}  // namespace

BlockCounts::BlockCounts(fs::path path, const std::string& digest, std::size_t blocks,
                         Access access)
    : path_(std::move(path)), sequences_(blocks, kUnknown) {
  const std::string header = std::string(kMagic) + digest;
  std::error_code ignored;
  std::string bytes;
  if (fs::is_regular_file(path_, ignored)) bytes = read_file(path_);
  std::string good = header;
  if (bytes.starts_with(header)) {
    for (std::size_t at = header.size(); at < bytes.size(); at += sizeof(Entry)) {
      Entry entry{};
      const std::string_view place = std::string_view(bytes).substr(at, sizeof entry);
      std::memcpy(&entry, place.data(), place.size());
      const bool whole = place.size() == sizeof entry && entry.checksum == checksum_of(entry);
      if (!whole || entry.block >= blocks || knows(entry.block)) continue;
      note(entry.block, {entry.sequences, entry.documents, entry.bad_records, entry.tokens,
                         entry.trained, entry.text_bytes, entry.padding, entry.lengths});
      good += place;
    }
  }
  if (good.size() != bytes.size()) {
    if (!bytes.empty()) {
      log::warn(
          "{}: {} of its {} bytes are damaged or of other data; what they said is learned "
          "again",
          path_.string(), bytes.size() - std::min(bytes.size(), good.size()), bytes.size());
    }
    if (access == Access::extend) write_file_atomically(path_, good);
  }
  if (access == Access::extend) open_to_append();
}

BlockCounts::~BlockCounts() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void BlockCounts::open_to_append() {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor_ < 0) fail_input("{}: cannot open: {}", path_.string(), std::strerror(errno));
}

void BlockCounts::note(std::size_t block, const BlockSummary& summary) {
  sequences_[block] = summary.sequences;
  ++totals_.blocks;
  totals_.sequences += summary.sequences;
  totals_.documents += summary.documents;
  totals_.bad_records += summary.bad_records;
  totals_.tokens += summary.tokens;
  totals_.trained += summary.trained;
  totals_.text_bytes += summary.text_bytes;
  totals_.padding += summary.padding;
  for (std::size_t i = 0; i < kLengthBuckets; ++i) totals_.lengths[i] += summary.lengths[i];
}

void BlockCounts::add(std::size_t block, const BlockSummary& summary) {
  require(!knows(block), "block {} is counted twice", block);
  note(block, summary);
  if (descriptor_ < 0) return;
  Entry entry{static_cast<std::uint32_t>(block),
              summary.sequences,
              summary.documents,
              summary.bad_records,
              summary.tokens,
              summary.trained,
              summary.text_bytes,
              summary.padding,
              summary.lengths,
              0};
  entry.checksum = checksum_of(entry);
  const ssize_t written = ::write(descriptor_, &entry, sizeof entry);  // one call: never torn apart
  if (written == static_cast<ssize_t>(sizeof entry)) return;
  log::warn("{}: cannot write ({}); a resumed run will tokenize again what it read", path_.string(),
            written < 0 ? std::strerror(errno) : "the disk is full");
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace bessemer::data

#include "data/block_counts.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
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

constexpr std::size_t kHeader = kMagic.size() + 32;

std::uint64_t size_of_open(int descriptor) {
  struct stat info {};
  return ::fstat(descriptor, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

/// What the file has from `from` on.
std::string bytes_from(int descriptor, std::uint64_t from) {
  const std::uint64_t size = size_of_open(descriptor);
  std::string bytes(size - std::min(from, size), '\0');
  std::size_t got = 0;
  while (got < bytes.size()) {
    const ssize_t n =
        ::pread(descriptor, bytes.data() + got, bytes.size() - got, static_cast<off_t>(from + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

Entry to_entry(std::size_t block, const BlockSummary& summary) {
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
  return entry;
}

}  // namespace

BlockCounts::BlockCounts(fs::path path, const std::string& digest, std::size_t blocks,
                         Access access)
    : path_(std::move(path)), access_(access), sequences_(blocks, kUnknown) {
  require(digest.size() == kHeader - kMagic.size(), "a digest of {} characters", digest.size());
  const bool extends = access_ == Access::extend;
  const int flags = extends ? O_RDWR | O_CREAT | O_APPEND : O_RDONLY;
  const int descriptor = ::open(path_.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0 && extends) {
    fail_input("{}: cannot open: {}", path_.string(), std::strerror(errno));
  }
  if (descriptor < 0) return;
  file_.emplace(descriptor, path_);
  load(std::string(kMagic) + digest);
}

/// What the file has; only what is good of it stays.
void BlockCounts::load(const std::string& header) {
  const std::lock_guard lock(*file_);
  const std::string bytes = bytes_from(file_->descriptor(), 0);
  std::string good = header;
  if (bytes.starts_with(header)) {
    for (std::size_t at = header.size(); at < bytes.size(); at += sizeof(Entry)) {
      const std::string_view place = std::string_view(bytes).substr(at, sizeof(Entry));
      if (take(place)) good += place;
    }
  }
  read_ = good.size();
  if (good.size() == bytes.size()) return;
  if (!bytes.empty()) {
    log::warn(
        "{}: {} of its {} bytes are damaged or of other data; what they said is learned again",
        path_.string(), bytes.size() - std::min(bytes.size(), good.size()), bytes.size());
  }
  if (access_ == Access::read_only) return;
  if (::ftruncate(file_->descriptor(), 0) != 0) {
    fail_input("{}: cannot cut: {}", path_.string(), std::strerror(errno));
  }
  append(good);
}

/// Notes an entry; false where it is none, or its block is known.
bool BlockCounts::take(std::string_view bytes) {
  Entry entry{};
  if (bytes.size() != sizeof entry) return false;
  std::memcpy(&entry, bytes.data(), sizeof entry);
  if (entry.checksum != checksum_of(entry)) return false;
  if (entry.block >= blocks() || knows(entry.block)) return false;
  note(entry.block, {entry.sequences, entry.documents, entry.bad_records, entry.tokens,
                     entry.trained, entry.text_bytes, entry.padding, entry.lengths});
  return true;
}

/// The whole entries behind what was read; the lock is held.
void BlockCounts::read_on() {
  if (size_of_open(file_->descriptor()) < read_)
    read_ = kHeader;  // another process has removed damage
  const std::string bytes = bytes_from(file_->descriptor(), read_);
  for (std::size_t at = 0; at + sizeof(Entry) <= bytes.size(); at += sizeof(Entry)) {
    take(std::string_view(bytes).substr(at, sizeof(Entry)));
    read_ += sizeof(Entry);
  }
}

void BlockCounts::refresh() {
  if (!file_) return;
  const std::lock_guard lock(*file_);
  read_on();
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

/// Where that fails, the file is not used any more: what it has then is whole entries and at the
/// most a part of one.
void BlockCounts::append(std::string_view bytes) {
  const ssize_t written = ::write(file_->descriptor(), bytes.data(), bytes.size());
  if (written == static_cast<ssize_t>(bytes.size())) return;
  log::warn("{}: cannot write ({}); a resumed run will tokenize again what it read", path_.string(),
            written < 0 ? std::strerror(errno) : "the disk is full");
  access_ = Access::read_only;
}

void BlockCounts::add(std::size_t block, const BlockSummary& summary) {
  require(!knows(block), "block {} is counted twice", block);
  const auto entry = to_entry(block, summary);
  if (file_ && access_ == Access::extend) {
    const std::lock_guard lock(*file_);
    read_on();
    if (knows(block)) return;  // another process was faster
    // Part of an entry, of a process that has died or had no room.
    const bool whole = size_of_open(file_->descriptor()) == read_ ||
                       ::ftruncate(file_->descriptor(), static_cast<off_t>(read_)) == 0;
    if (whole) append({reinterpret_cast<const char*>(&entry), sizeof entry});
    if (whole && access_ == Access::extend) read_ += sizeof entry;
  }
  note(block, summary);
}

}  // namespace bessemer::data

#include "data/part_file.h"

#include <array>
#include <cstring>

#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kMagic = "BSMPART1";
using Words = std::array<std::uint64_t, 16>;
using Checksums = std::array<std::uint64_t, 2>;
constexpr std::size_t kHashed = kMagic.size() + sizeof(Checksums);  // what the first is of
constexpr std::size_t kTokens = kHashed + sizeof(Words);
static_assert(sizeof(PartDocument) == 24);

Words to_words(const PartSummary& s) {
  const Cursor &b = s.begin, &e = s.end;
  return {s.documents, s.tokens, s.bytes,    s.bad_records, s.empty_documents, s.token_bytes,
          b.file,      b.offset, b.lines,    b.consumed,    b.within,          e.file,
          e.offset,    e.lines,  e.consumed, e.within};
}

PartSummary from_words(const Words& w) {
  return {w[0],
          w[1],
          w[2],
          w[3],
          w[4],
          w[5],
          {w[6], w[7], w[8], w[9], w[10] != 0},
          {w[11], w[12], w[13], w[14], w[15] != 0}};
}

[[noreturn]] void refuse(const std::string& name) {
  fail_input("{}: not a whole part of a build; remove it and build again", name);
}

Checksums checksums_of(std::string_view bytes) {
  return {XXH3_64bits(bytes.data() + kHashed, bytes.size() - kHashed),
          XXH3_64bits(bytes.data() + kHashed, sizeof(Words))};
}

Checksums stored_checksums(std::string_view bytes) {
  Checksums checksums;
  std::memcpy(checksums.data(), bytes.data() + kMagic.size(), sizeof checksums);
  return checksums;
}

/// The summary in the first bytes of a file of `size` bytes.
PartSummary checked_summary(std::string_view head, std::uint64_t size, const std::string& name) {
  if (head.size() < kTokens || !head.starts_with(kMagic)) refuse(name);
  if (stored_checksums(head)[1] != checksums_of(head)[1]) refuse(name);
  Words words;
  std::memcpy(words.data(), head.data() + kHashed, sizeof words);
  const PartSummary s = from_words(words);
  if (s.token_bytes != 2 && s.token_bytes != 4) refuse(name);
  // Division, not multiplication: the counts may be anything.
  const std::uint64_t rest = size - kTokens;
  const bool fits = s.documents <= rest / sizeof(PartDocument) &&
                    s.tokens == (rest - s.documents * sizeof(PartDocument)) / s.token_bytes &&
                    (rest - s.documents * sizeof(PartDocument)) % s.token_bytes == 0;
  if (!fits) refuse(name);
  return s;
}

void append_bytes(std::string& bytes, const void* data, std::size_t size) {
  bytes.append(static_cast<const char*>(data), size);
}

}  // namespace

void PartWriter::append(std::span<const std::int32_t> tokens, const Place& place) {
  if (!open_) documents_.push_back({0, place.offset, place.file});
  open_ = true;
  documents_.back().tokens += tokens.size();
  if (type_ == TokenType::int32) return append_bytes(tokens_, tokens.data(), tokens.size_bytes());
  const std::size_t before = tokens_.size();
  tokens_.resize(before + 2 * tokens.size());
  char* out = tokens_.data() + before;
  for (const std::int32_t token : tokens) {
    require(token >= 0 && token <= 0xFFFF, "token {} does not fit in 16 bits", token);
    const auto narrow = static_cast<std::uint16_t>(token);
    std::memcpy(out, &narrow, sizeof narrow);
    out += sizeof narrow;
  }
}

void PartWriter::write(const std::filesystem::path& path) {
  summary.documents = documents_.size();
  summary.tokens = tokens_.size() / size_of(type_);
  const Words words = to_words(summary);
  std::string bytes(kMagic);
  bytes.reserve(kTokens + tokens_.size() + documents_.size() * sizeof(PartDocument));
  bytes.append(sizeof(Checksums), '\0');
  append_bytes(bytes, words.data(), sizeof words);
  bytes += tokens_;
  append_bytes(bytes, documents_.data(), documents_.size() * sizeof(PartDocument));
  const Checksums checksums = checksums_of(bytes);
  std::memcpy(bytes.data() + kMagic.size(), checksums.data(), sizeof checksums);
  write_file_atomically(path, bytes, Flush::later);
}

PartSummary read_part_summary(const std::filesystem::path& path) {
  const FileReader file(path);
  std::string head(std::min(file.size(), kTokens), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  return checked_summary(head, file.size(), path.string());
}

std::vector<PartDocument> read_part_documents(const std::filesystem::path& path) {
  const PartSummary summary = read_part_summary(path);
  std::vector<PartDocument> documents(summary.documents);
  FileReader(path).read(kTokens + summary.tokens * summary.token_bytes,
                        std::as_writable_bytes(std::span(documents)));
  return documents;
}

PartContent::PartContent(const std::filesystem::path& path)
    : PartContent(read_file(path), path.string()) {}

PartContent::PartContent(std::string bytes, std::string name)
    : bytes_(std::move(bytes)), summary_(checked_summary(bytes_, bytes_.size(), name)) {
  if (stored_checksums(bytes_) != checksums_of(bytes_)) refuse(name);
  documents_.resize(summary_.documents);
  const std::size_t records = documents_.size() * sizeof(PartDocument);
  if (records > 0) std::memcpy(documents_.data(), bytes_.data() + bytes_.size() - records, records);
  std::uint64_t tokens = 0;
  for (const PartDocument& document : documents_) {
    if (document.tokens > summary_.tokens - tokens) refuse(name);
    tokens += document.tokens;
  }
  if (tokens != summary_.tokens) refuse(name);
}

std::span<const std::byte> PartContent::tokens() const {
  return std::as_bytes(std::span(bytes_)).subspan(kTokens, summary_.tokens * summary_.token_bytes);
}

}  // namespace bessemer::data

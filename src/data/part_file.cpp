#include "data/part_file.h"

#include <array>
#include <cstring>

#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kMagic = "BSMPART2";
using Words = std::array<std::uint64_t, 17>;
using Checksums = std::array<std::uint64_t, 2>;
constexpr std::size_t kHashed = kMagic.size() + sizeof(Checksums);  // what the first is of
constexpr std::size_t kTokens = kHashed + sizeof(Words);
static_assert(sizeof(PartDocument) == 24);

Words to_words(const PartSummary& s) {
  const Cursor &b = s.begin, &e = s.end;
  return {s.documents, s.tokens, s.bytes,  s.bad_records, s.empty_documents, s.token_bytes,
          s.masked,    b.file,   b.offset, b.lines,       b.consumed,        b.within,
          e.file,      e.offset, e.lines,  e.consumed,    e.within};
}

PartSummary from_words(const Words& w) {
  return {w[0],
          w[1],
          w[2],
          w[3],
          w[4],
          w[5],
          w[6] != 0,
          {w[7], w[8], w[9], w[10], w[11] != 0},
          {w[12], w[13], w[14], w[15], w[16] != 0}};
}

std::uint64_t mask_bytes(const PartSummary& s) { return s.masked ? (s.tokens + 7) / 8 : 0; }

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
  if ((s.token_bytes != 2 && s.token_bytes != 4) || words[6] > 1) refuse(name);
  // Division, not multiplication: the counts may be anything.
  std::uint64_t rest = size - kTokens;
  if (s.documents > rest / sizeof(PartDocument)) refuse(name);
  rest -= s.documents * sizeof(PartDocument);
  if (s.tokens > rest / s.token_bytes) refuse(name);
  if (rest != s.tokens * s.token_bytes + mask_bytes(s)) refuse(name);
  return s;
}

/// One bit for each of 0 or 1, from the lowest of a byte up.
std::string packed_bits(const std::vector<std::uint8_t>& values) {
  std::string bits((values.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    bits[i / 8] = static_cast<char>(static_cast<unsigned char>(bits[i / 8]) | values[i] << i % 8);
  }
  return bits;
}

void append_bytes(std::string& bytes, const void* data, std::size_t size) {
  bytes.append(static_cast<const char*>(data), size);
}

}  // namespace

void PartWriter::append(std::span<const std::int32_t> tokens, std::span<const std::uint8_t> trained,
                        const Place& place) {
  trained_.insert(trained_.end(), trained.begin(), trained.end());
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
  summary.masked = !trained_.empty();
  require(!summary.masked || trained_.size() == summary.tokens, "{}: a mask of {} of the {} tokens",
          path.string(), trained_.size(), summary.tokens);
  const Words words = to_words(summary);
  std::string bytes(kMagic);
  bytes.reserve(kTokens + tokens_.size() + documents_.size() * sizeof(PartDocument) +
                mask_bytes(summary));
  bytes.append(sizeof(Checksums), '\0');
  append_bytes(bytes, words.data(), sizeof words);
  bytes += tokens_;
  append_bytes(bytes, documents_.data(), documents_.size() * sizeof(PartDocument));
  bytes += packed_bits(trained_);
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
  const std::size_t first = kTokens + summary_.tokens * summary_.token_bytes;
  if (records > 0) std::memcpy(documents_.data(), bytes_.data() + first, records);
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

std::vector<std::uint8_t> PartContent::trained() const {
  if (!summary_.masked) return {};
  std::vector<std::uint8_t> trained(summary_.tokens);
  const std::size_t first = bytes_.size() - mask_bytes(summary_);
  for (std::size_t t = 0; t < trained.size(); ++t) {
    trained[t] = static_cast<unsigned char>(bytes_[first + t / 8]) >> (t % 8) & 1u;
  }
  return trained;
}

}  // namespace bessemer::data

#include "data/indexed_dataset.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "data/record_writer.h"

namespace bessemer::data {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace fs = std::filesystem;

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::uint64_t kLongestSequence = std::numeric_limits<std::int32_t>::max();

template <typename T>
T load_at(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof value);
  return value;
}

fs::path with_extension(const fs::path& prefix, std::string_view extension) {
  fs::path base = prefix;
  if (base.extension() == ".bin" || base.extension() == ".idx") base.replace_extension();
  base += extension;
  return base;
}

/// An array in a file, read in order in blocks.
template <typename T>
class Column {
 public:
  Column(const ByteSource& source, std::size_t offset, std::uint64_t count)
      : source_(source), offset_(offset), left_(count) {}

  T next() {
    if (at_ == block_.size()) refill();
    return block_[at_++];
  }

 private:
  void refill() {
    constexpr std::uint64_t kEntries = 1 << 15;
    block_.resize(static_cast<std::size_t>(std::min(left_, kEntries)));
    source_.read(offset_, std::as_writable_bytes(std::span(block_)));
    offset_ += block_.size() * sizeof(T);
    left_ -= block_.size();
    at_ = 0;
  }

  const ByteSource& source_;
  std::size_t offset_;
  std::uint64_t left_;
  std::vector<T> block_;
  std::size_t at_ = 0;
};

template <typename T>
T read_at(const ByteSource& source, std::size_t offset) {
  T value;
  source.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

struct Header {
  TokenType type = TokenType::int32;
  std::uint64_t sequences = 0, indices = 0;
};

Header read_header(const ByteSource& idx, const std::string& name) {
  constexpr std::string_view kRemedy = "build the token files again";
  require_input(idx.size() >= kHeaderBytes, "{}: {} bytes, expected a header of {} at least; {}",
                name, idx.size(), kHeaderBytes, kRemedy);
  std::array<std::byte, kHeaderBytes> bytes;
  idx.read(0, bytes);
  const bool magic = std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
  require_input(magic, "{}: byte 0: not a Megatron index (it begins with MMIDIDX)", name);
  const auto version = load_at<std::uint64_t>(bytes.data() + 9);
  require_input(version == kVersion, "{}: byte 9: version {}, expected {}", name, version,
                kVersion);
  const auto code = load_at<std::uint8_t>(bytes.data() + 17);
  require_input(code == 4 || code == 8,
                "{}: byte 17: token type {}, expected 4 (int32) or 8 (uint16)", name, code);
  const Header header{static_cast<TokenType>(code), load_at<std::uint64_t>(bytes.data() + 18),
                      load_at<std::uint64_t>(bytes.data() + 26)};
  // Division, not multiplication: the counts may be anything.
  const std::uint64_t rest = idx.size() - kHeaderBytes;
  const bool fits =
      header.sequences <= rest / 12 && header.indices <= (rest - header.sequences * 12) / 8;
  require_input(fits,
                "{}: byte 18: {} sequences and {} document indices do not fit in its {} bytes; {}",
                name, header.sequences, header.indices, idx.size(), kRemedy);
  require_input(header.indices >= 1, "{}: no document indices, expected one at least", name);
  return header;
}

}  // namespace

fs::path bin_path(const fs::path& prefix) { return with_extension(prefix, ".bin"); }
fs::path idx_path(const fs::path& prefix) { return with_extension(prefix, ".idx"); }

fs::path partial_path(fs::path path) {
  path += ".partial";
  return path;
}

void put_in_place(const fs::path& path) {
  std::error_code code;
  fs::rename(partial_path(path), path, code);
  if (code) fail_input("{}: cannot rename into place: {}", path.string(), code.message());
}

void ByteSource::read(std::size_t offset, std::span<std::byte> out) const {
  if (file_ != nullptr) {
    file_->read(offset, out);
  } else if (!out.empty()) {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
  }
}

IndexedDataset IndexedDataset::open(const fs::path& prefix) {
  IndexedDataset dataset;
  dataset.name_ = bin_path(prefix).string();
  dataset.idx_path_ = idx_path(prefix);
  dataset.idx_ = ByteSource(idx_path(prefix));
  dataset.bin_ = ByteSource(bin_path(prefix));
  dataset.load(idx_path(prefix).string());
  return dataset;
}

IndexedDataset IndexedDataset::from_bytes(std::span<const std::byte> idx,
                                          std::span<const std::byte> bin, const std::string& name) {
  IndexedDataset dataset;
  dataset.name_ = name + ".bin";
  dataset.idx_ = ByteSource(idx);
  dataset.bin_ = ByteSource(bin);
  dataset.load(name + ".idx");
  return dataset;
}

/// Calls visitor(d, first, last, lengths, pointers) for every document: sequences [first, last) are
/// its own, and it may take as many from the columns.
template <typename Visitor>
void IndexedDataset::scan(const Visitor& visitor) const {
  Column<std::int32_t> lengths(idx_, kHeaderBytes, sequences_);
  Column<std::int64_t> pointers(idx_, pointers_, sequences_);
  Column<std::int64_t> starts(idx_, starts_, documents_ + 1);
  std::int64_t first = starts.next();
  for (std::uint64_t d = 0; d < documents_; ++d) {
    const std::int64_t last = starts.next();
    visitor(d, first, last, lengths, pointers);
    first = last;
  }
}

void IndexedDataset::load(const std::string& name) {
  const Header header = read_header(idx_, name);
  type_ = header.type;
  sequences_ = header.sequences;
  documents_ = header.indices - 1;
  pointers_ = kHeaderBytes + sequences_ * sizeof(std::int32_t);
  starts_ = pointers_ + sequences_ * sizeof(std::int64_t);
  const auto begin = read_at<std::int64_t>(idx_, starts_);
  require_input(begin == 0, "{}: document index 0 is {}, expected 0", name, begin);
  const auto end = read_at<std::int64_t>(idx_, starts_ + documents_ * sizeof(std::int64_t));
  require_input(static_cast<std::uint64_t>(end) == sequences_,
                "{}: the last document index is {}, expected {}, the number of sequences", name,
                end, sequences_);
  const std::uint64_t bin_size = bin_.size(), width = size_of(type_);
  scan([&](std::uint64_t d, std::int64_t first, std::int64_t last, auto& lengths, auto& pointers) {
    require_input(first <= last && static_cast<std::uint64_t>(last) <= sequences_,
                  "{}: document {}: sequences {} to {} of {}; indices must ascend", name, d, first,
                  last, sequences_);
    if (last - first != 1) one_each_ = false;
    std::uint64_t follows = 0;
    for (std::int64_t s = first; s < last; ++s) {
      const std::int64_t length = lengths.next(), pointer = pointers.next();
      require_input(length >= 0, "{}: sequence {}: length {}", name, s, length);
      const auto at = static_cast<std::uint64_t>(pointer);
      const auto count = static_cast<std::uint64_t>(length);
      const bool inside = pointer >= 0 && at <= bin_size && count <= (bin_size - at) / width;
      require_input(inside,
                    "{}: sequence {}: {} tokens at byte {} lie outside {} ({} bytes); the two "
                    "files do not belong together or one is cut short",
                    name, s, length, pointer, name_, bin_size);
      require_input(s == first || at == follows,
                    "{}: sequence {}: begins at byte {}, expected {}, the end of the one before "
                    "it in document {}",
                    name, s, pointer, follows, d);
      follows = at + count * width;
      tokens_ += count;
    }
  });
}

std::string IndexedDataset::identity() const {
  std::error_code ignored;  // a file that is gone has no time
  const auto time =
      idx_path_.empty() ? fs::file_time_type() : fs::last_write_time(idx_path_, ignored);
  return fmt::format("{} {} {}", idx_.size(), bin_.size(), time.time_since_epoch().count());
}

std::int64_t IndexedDataset::length_of(std::uint64_t sequence) const {
  return read_at<std::int32_t>(idx_, kHeaderBytes + sequence * sizeof(std::int32_t));
}

std::int64_t IndexedDataset::pointer_of(std::uint64_t sequence) const {
  return read_at<std::int64_t>(idx_, pointers_ + sequence * sizeof(std::int64_t));
}

Extent IndexedDataset::find(std::uint64_t d) const {
  require(d < documents_, "{}: document {} of {}", name_, d, documents_);
  std::uint64_t first = d, last = d;
  if (!one_each_) {
    std::array<std::int64_t, 2> bounds;
    idx_.read(starts_ + d * sizeof(std::int64_t), std::as_writable_bytes(std::span(bounds)));
    if (bounds[0] == bounds[1]) return {};
    first = static_cast<std::uint64_t>(bounds[0]);
    last = static_cast<std::uint64_t>(bounds[1]) - 1;
  }
  const auto begin = static_cast<std::uint64_t>(pointer_of(first));
  const auto length = static_cast<std::uint64_t>(length_of(last));
  if (first == last) return {begin, length};
  const auto end = static_cast<std::uint64_t>(pointer_of(last)) + length * size_of(type_);
  return {begin, (end - begin) / size_of(type_)};
}

std::uint64_t IndexedDataset::length(std::uint64_t d) const {
  if (!one_each_) return find(d).tokens;
  require(d < documents_, "{}: document {} of {}", name_, d, documents_);
  return static_cast<std::uint64_t>(length_of(d));
}

void IndexedDataset::visit_lengths(const std::function<void(std::uint64_t)>& visitor) const {
  scan([&](std::uint64_t, std::int64_t first, std::int64_t last, auto& lengths, auto&) {
    std::uint64_t tokens = 0;
    for (; first < last; ++first) tokens += static_cast<std::uint64_t>(lengths.next());
    visitor(tokens);
  });
}

void IndexedDataset::read(const Extent& document, std::uint64_t begin,
                          std::span<std::int32_t> out) const {
  require(begin <= document.tokens && out.size() <= document.tokens - begin,
          "{}: tokens {} to {} of a document of {}", name_, begin, begin + out.size(),
          document.tokens);
  // 16-bit tokens are read into the back half of `out` and widened from the front on.
  const std::span<std::byte> place = std::as_writable_bytes(out).last(out.size() * size_of(type_));
  bin_.read(document.offset + begin * size_of(type_), place);
  if (type_ == TokenType::int32) return;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = load_at<std::uint16_t>(place.data() + 2 * i);
  }
}

namespace {

/// Calls visitor(tokens) for every sequence that a document of `tokens` is stored as.
template <typename Visitor>
void visit_sequences(std::uint64_t tokens, const Visitor& visitor) {
  for (; tokens > kLongestSequence; tokens -= kLongestSequence) visitor(kLongestSequence);
  visitor(tokens);
}

}  // namespace

void write_index(const fs::path& path, TokenType type,
                 const std::function<void(const LengthVisitor&)>& documents) {
  std::uint64_t sequences = 0, indices = 1;
  documents([&](std::uint64_t tokens) {
    visit_sequences(tokens, [&](std::uint64_t) { ++sequences; });
    ++indices;
  });
  RecordWriter idx(path);
  idx.write(std::as_bytes(std::span(kMagic)));
  idx.put(kVersion);
  idx.put(static_cast<std::uint8_t>(type));
  idx.put(sequences);
  idx.put(indices);
  documents([&](std::uint64_t tokens) {
    visit_sequences(tokens, [&](std::uint64_t n) { idx.put(static_cast<std::int32_t>(n)); });
  });
  std::uint64_t place = 0;
  documents([&](std::uint64_t tokens) {
    visit_sequences(tokens, [&](std::uint64_t n) {
      idx.put(static_cast<std::int64_t>(place));
      place += n * size_of(type);
    });
  });
  std::int64_t sequence = 0;
  idx.put(sequence);
  documents([&](std::uint64_t tokens) {
    visit_sequences(tokens, [&](std::uint64_t) { ++sequence; });
    idx.put(sequence);
  });
  idx.close();
}

IndexedDatasetWriter::IndexedDatasetWriter(fs::path prefix, TokenType type)
    : prefix_(std::move(prefix)),
      type_(type),
      bin_(std::make_unique<FileWriter>(partial_path(bin_path(prefix_)))) {
  buffer_.reserve(kBufferBytes);
}

IndexedDatasetWriter::~IndexedDatasetWriter() {
  if (finished_) return;
  bin_.reset();
  std::error_code ignored;
  fs::remove(partial_path(bin_path(prefix_)), ignored);
  fs::remove(partial_path(idx_path(prefix_)), ignored);
}

void IndexedDatasetWriter::append(std::span<const std::int32_t> tokens) {
  const std::int32_t largest =
      type_ == TokenType::uint16 ? 0xFFFF : std::numeric_limits<std::int32_t>::max();
  for (const std::int32_t token : tokens) {
    if (token >= 0 && token <= largest) continue;
    fail("{}: token {} does not fit in {} bytes", bin_path(prefix_).string(), token,
         size_of(type_));
  }
  tokens_ += tokens.size();
  length_ += tokens.size();
  while (!tokens.empty()) {
    const std::size_t room = (kBufferBytes - buffer_.size()) / size_of(type_);
    const std::size_t n = std::min(tokens.size(), room);
    store(tokens.first(n));
    tokens = tokens.subspan(n);
    if (kBufferBytes - buffer_.size() < sizeof(std::int32_t)) flush();
  }
}

/// Puts tokens that fit at the end of the buffer.
void IndexedDatasetWriter::store(std::span<const std::int32_t> tokens) {
  const std::size_t before = buffer_.size();
  buffer_.resize(before + tokens.size() * size_of(type_));
  std::byte* place = buffer_.data() + before;
  if (type_ == TokenType::int32) {
    std::memcpy(place, tokens.data(), tokens.size_bytes());
    return;
  }
  for (const std::int32_t token : tokens) {
    const auto narrow = static_cast<std::uint16_t>(token);
    std::memcpy(place, &narrow, sizeof narrow);
    place += sizeof narrow;
  }
}

void IndexedDatasetWriter::end_document() {
  lengths_.push_back(length_);
  length_ = 0;
}

void IndexedDatasetWriter::flush() {
  bin_->write(buffer_);
  buffer_.clear();
}

void IndexedDatasetWriter::finish() {
  require(length_ == 0, "{}: the last document is open", bin_path(prefix_).string());
  flush();
  bin_->close();
  write_index(partial_path(idx_path(prefix_)), type_, [&](const LengthVisitor& visitor) {
    for (const std::uint64_t length : lengths_) visitor(length);
  });
  put_in_place(bin_path(prefix_));
  put_in_place(idx_path(prefix_));
  finished_ = true;
  const auto directory = prefix_.parent_path();
  sync_directory(directory.empty() ? fs::path(".") : directory);
}

}  // namespace bessemer::data

#include "data/indexed_dataset.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer::data {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace fs = std::filesystem;

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::int32_t kLongestSequence = std::numeric_limits<std::int32_t>::max();

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

fs::path partial(fs::path path) {
  path += ".partial";
  return path;
}

/// Renames a file that is whole to its name.
void put_in_place(const fs::path& path) {
  std::error_code code;
  fs::rename(partial(path), path, code);
  if (code) fail_input("{}: cannot rename into place: {}", path.string(), code.message());
}

}  // namespace

fs::path bin_path(const fs::path& prefix) { return with_extension(prefix, ".bin"); }
fs::path idx_path(const fs::path& prefix) { return with_extension(prefix, ".idx"); }

/// The arrays of an .idx file, sizes checked, contents not.
struct IndexedDataset::Index {
  std::string name;
  TokenType type = TokenType::int32;
  std::uint64_t sequences = 0, indices = 0;
  const std::byte *lengths = nullptr, *pointers = nullptr, *starts = nullptr;

  Index(std::span<const std::byte> bytes, std::string file) : name(std::move(file)) {
    constexpr std::string_view kRemedy = "build the token files again";
    require_input(bytes.size() >= kHeaderBytes,
                  "{}: {} bytes, expected a header of {} at least; {}", name, bytes.size(),
                  kHeaderBytes, kRemedy);
    const bool magic = std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
    require_input(magic, "{}: byte 0: not a Megatron index (it begins with MMIDIDX)", name);
    const auto version = load_at<std::uint64_t>(bytes.data() + 9);
    require_input(version == kVersion, "{}: byte 9: version {}, expected {}", name, version,
                  kVersion);
    const auto code = load_at<std::uint8_t>(bytes.data() + 17);
    require_input(code == 4 || code == 8,
                  "{}: byte 17: token type {}, expected 4 (int32) or 8 (uint16)", name, code);
    type = static_cast<TokenType>(code);
    sequences = load_at<std::uint64_t>(bytes.data() + 18);
    indices = load_at<std::uint64_t>(bytes.data() + 26);
    // Division, not multiplication: the counts may be anything.
    const std::uint64_t rest = bytes.size() - kHeaderBytes;
    const bool fits = sequences <= rest / 12 && indices <= (rest - sequences * 12) / 8;
    require_input(
        fits, "{}: byte 18: {} sequences and {} document indices do not fit in its {} bytes; {}",
        name, sequences, indices, bytes.size(), kRemedy);
    lengths = bytes.data() + kHeaderBytes;
    pointers = lengths + sequences * 4;
    starts = pointers + sequences * 8;
  }

  std::int64_t length(std::uint64_t s) const { return load_at<std::int32_t>(lengths + s * 4); }
  std::int64_t pointer(std::uint64_t s) const { return load_at<std::int64_t>(pointers + s * 8); }
  std::int64_t start(std::uint64_t d) const { return load_at<std::int64_t>(starts + d * 8); }
};

IndexedDataset IndexedDataset::open(const fs::path& prefix) {
  const MappedFile idx(idx_path(prefix));
  IndexedDataset dataset;
  dataset.name_ = bin_path(prefix).string();
  dataset.bin_file_ = std::make_unique<FileReader>(bin_path(prefix));
  dataset.load(Index(idx.bytes(), idx.path().string()), dataset.bin_file_->size());
  return dataset;
}

IndexedDataset IndexedDataset::from_bytes(std::span<const std::byte> idx,
                                          std::span<const std::byte> bin, const std::string& name) {
  IndexedDataset dataset;
  dataset.name_ = name + ".bin";
  dataset.bin_ = bin;
  dataset.load(Index(idx, name + ".idx"), bin.size());
  return dataset;
}

void IndexedDataset::load(const Index& index, std::size_t bin_size) {
  type_ = index.type;
  const std::uint64_t width = size_of(type_);
  for (std::uint64_t s = 0; s < index.sequences; ++s) {
    const std::int64_t length = index.length(s), pointer = index.pointer(s);
    require_input(length >= 0, "{}: sequence {}: length {}", index.name, s, length);
    const bool inside = pointer >= 0 && static_cast<std::uint64_t>(pointer) <= bin_size &&
                        static_cast<std::uint64_t>(length) <=
                            (bin_size - static_cast<std::uint64_t>(pointer)) / width;
    require_input(inside,
                  "{}: sequence {}: {} tokens at byte {} lie outside {} ({} bytes); the two files "
                  "do not belong together or one is cut short",
                  index.name, s, length, pointer, name_, bin_size);
  }
  require_input(index.indices >= 1, "{}: no document indices, expected one at least", index.name);
  require_input(index.start(0) == 0, "{}: document index 0 is {}, expected 0", index.name,
                index.start(0));
  for (std::uint64_t d = 0; d + 1 < index.indices; ++d) {
    const std::int64_t first = index.start(d), last = index.start(d + 1);
    require_input(first <= last && static_cast<std::uint64_t>(last) <= index.sequences,
                  "{}: document {}: sequences {} to {} of {}; indices must ascend", index.name, d,
                  first, last, index.sequences);
    std::uint64_t tokens = 0;
    for (auto s = static_cast<std::uint64_t>(first); s < static_cast<std::uint64_t>(last); ++s) {
      const std::uint64_t follows =
          static_cast<std::uint64_t>(index.pointer(static_cast<std::uint64_t>(first))) +
          tokens * width;
      require_input(static_cast<std::uint64_t>(index.pointer(s)) == follows,
                    "{}: sequence {}: begins at byte {}, expected {}, the end of the one before "
                    "it in document {}",
                    index.name, s, index.pointer(s), follows, d);
      tokens += static_cast<std::uint64_t>(index.length(s));
    }
    offsets_.push_back(
        first < last ? static_cast<std::uint64_t>(index.pointer(static_cast<std::uint64_t>(first)))
                     : 0);
    lengths_.push_back(tokens);
    tokens_ += tokens;
  }
  const std::int64_t end = index.start(index.indices - 1);
  require_input(static_cast<std::uint64_t>(end) == index.sequences,
                "{}: the last document index is {}, expected {}, the number of sequences",
                index.name, end, index.sequences);
}

void IndexedDataset::read(std::uint64_t d, std::uint64_t begin, std::span<std::int32_t> out) const {
  require(d < documents() && begin <= lengths_[d] && out.size() <= lengths_[d] - begin,
          "{}: tokens {} to {} of document {}", name_, begin, begin + out.size(), d);
  // 16-bit tokens are read into the back half of `out` and widened from the front on.
  const std::span<std::byte> place = std::as_writable_bytes(out).last(out.size() * size_of(type_));
  read_bytes(offsets_[d] + begin * size_of(type_), place);
  if (type_ == TokenType::int32) return;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = load_at<std::uint16_t>(place.data() + 2 * i);
  }
}

void IndexedDataset::read_bytes(std::size_t offset, std::span<std::byte> out) const {
  if (bin_file_ != nullptr) {
    bin_file_->read(offset, out);
  } else if (!out.empty()) {
    std::memcpy(out.data(), bin_.data() + offset, out.size());
  }
}

IndexedDatasetWriter::IndexedDatasetWriter(fs::path prefix, TokenType type)
    : prefix_(std::move(prefix)),
      type_(type),
      bin_(std::make_unique<FileWriter>(partial(bin_path(prefix_)))) {
  buffer_.reserve(kBufferBytes);
}

IndexedDatasetWriter::~IndexedDatasetWriter() {
  if (finished_) return;
  bin_.reset();
  std::error_code ignored;
  fs::remove(partial(bin_path(prefix_)), ignored);
  fs::remove(partial(idx_path(prefix_)), ignored);
}

void IndexedDatasetWriter::append(std::span<const std::int32_t> tokens) {
  const std::int32_t largest = type_ == TokenType::uint16 ? 0xFFFF : kLongestSequence;
  for (const std::int32_t token : tokens) {
    if (token >= 0 && token <= largest) continue;
    fail("{}: token {} does not fit in {} bytes", bin_path(prefix_).string(), token,
         size_of(type_));
  }
  tokens_ += tokens.size();
  while (!tokens.empty()) {
    if (length_ == kLongestSequence) end_sequence();
    const std::size_t room = (kBufferBytes - buffer_.size()) / size_of(type_);
    const std::size_t left = static_cast<std::size_t>(kLongestSequence - length_);
    const std::size_t n = std::min({tokens.size(), room, left});
    store(tokens.first(n));
    length_ += static_cast<std::int64_t>(n);
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

void IndexedDatasetWriter::end_sequence() {
  lengths_.push_back(static_cast<std::int32_t>(length_));
  length_ = 0;
}

void IndexedDatasetWriter::end_document() {
  end_sequence();
  indices_.push_back(static_cast<std::int64_t>(lengths_.size()));
}

void IndexedDatasetWriter::flush() {
  bin_->write(buffer_);
  buffer_.clear();
}

void IndexedDatasetWriter::finish() {
  require(length_ == 0, "{}: the last document is open", bin_path(prefix_).string());
  flush();
  bin_->close();
  FileWriter idx(partial(idx_path(prefix_)));
  const auto put = [&](const auto& value) { idx.write(std::as_bytes(std::span(&value, 1))); };
  idx.write(kMagic);
  put(kVersion);
  put(static_cast<std::uint8_t>(type_));
  put(static_cast<std::uint64_t>(lengths_.size()));
  put(static_cast<std::uint64_t>(indices_.size()));
  idx.write(std::as_bytes(std::span(lengths_)));
  std::vector<std::int64_t> pointers(lengths_.size());
  std::int64_t place = 0;
  for (std::size_t s = 0; s < lengths_.size(); ++s) {
    pointers[s] = place;
    place += std::int64_t{lengths_[s]} * static_cast<std::int64_t>(size_of(type_));
  }
  idx.write(std::as_bytes(std::span(pointers)));
  idx.write(std::as_bytes(std::span(indices_)));
  idx.close();
  put_in_place(bin_path(prefix_));
  put_in_place(idx_path(prefix_));
  finished_ = true;
  const auto directory = prefix_.parent_path();
  sync_directory(directory.empty() ? fs::path(".") : directory);
}

}  // namespace bessemer::data

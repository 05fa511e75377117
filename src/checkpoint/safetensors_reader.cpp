#include <algorithm>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/json_text.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_dtype.h"

namespace bessemer::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr int kMostDepth = 3;  // header, tensor, shape
constexpr std::size_t kMostRank = 64;

std::uint64_t little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return value;
}

std::string_view header_text(std::span<const std::byte> file, std::string_view path) {
  require_input(file.size() >= kLengthBytes,
                "{}: not a safetensors file: {} bytes long, expected at least {}", path,
                file.size(), kLengthBytes);
  const std::uint64_t length = little_endian(file);
  require_input(length <= kMostHeaderBytes,
                "{}: not a safetensors file: its header claims {} bytes, the most is {}", path,
                length, kMostHeaderBytes);
  require_input(length <= file.size() - kLengthBytes,
                "{}: truncated: the header claims {} bytes, the file has {} after the length", path,
                length, file.size() - kLengthBytes);
  const auto text = file.subspan(kLengthBytes, length);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::uint64_t natural(const Json& value, std::string_view what, std::string_view place) {
  require_input(value.is_number_unsigned(), "{}: {}: expected a whole number, found {}", place,
                what, shortened(value));
  return value.get<std::uint64_t>();
}

Shape read_shape(const Json& value, std::string_view place) {
  require_input(value.is_array() && value.size() <= kMostRank,
                "{}: shape: expected a list of at most {} numbers, found {}", place, kMostRank,
                shortened(value));
  Shape shape;
  for (const Json& item : value) {
    const std::uint64_t size = natural(item, "shape", place);
    require_input(size <= std::numeric_limits<std::int64_t>::max(),
                  "{}: shape: {} is too large a dimension", place, size);
    shape.push_back(static_cast<std::int64_t>(size));
  }
  return shape;
}

std::size_t checked_bytes(const TensorType& type, std::string_view place) {
  // In the order and width of TensorType::elements, which therefore cannot overflow later.
  std::int64_t product = 1;
  bool overflow = false;
  for (const std::int64_t size : type.shape) {
    overflow = overflow || __builtin_mul_overflow(product, size, &product);
  }
  const auto width = static_cast<std::int64_t>(size_of(type.dtype));
  overflow = overflow || __builtin_mul_overflow(product, width, &product);
  require_input(!overflow, "{}: {} has more bytes than any file", place, to_string(type));
  return static_cast<std::size_t>(product);
}

DType read_dtype(const Json& value, std::string_view place) {
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  const auto dtype = dtype_of_safetensors(name);
  require_input(dtype.has_value(),
                "{}: dtype: {} is not one that can be read (F64, F32, BF16, F16, F8_E4M3, "
                "F8_E5M2, I64, I32, I8, U8, BOOL)",
                place, shortened(value));
  return *dtype;
}

// One tensor of the header. `begin` is still relative to the data.
SafetensorsEntry read_entry(const std::string& name, const Json& value, std::size_t data_size,
                            std::string_view path) {
  const std::string place = fmt::format("{}: tensor {}", path, quote(name));
  require_input(value.is_object(), "{}: expected an object, found {}", place, shortened(value));
  for (const auto& item : value.items()) {
    const std::string& key = item.key();
    require_input(key == "dtype" || key == "shape" || key == "data_offsets", "{}: unknown key {}",
                  place, quote(key));
  }
  SafetensorsEntry entry{name, {}, 0};
  entry.type.dtype = read_dtype(member(value, "dtype", place), place);
  entry.type.shape = read_shape(member(value, "shape", place), place);
  const Json& offsets = member(value, "data_offsets", place);
  require_input(offsets.is_array() && offsets.size() == 2,
                "{}: data_offsets: expected [begin, end], found {}", place, shortened(offsets));
  const std::uint64_t begin = natural(offsets[0], "data_offsets", place);
  const std::uint64_t end = natural(offsets[1], "data_offsets", place);
  require_input(begin <= end, "{}: begins at byte {} and ends before it, at {}", place, begin, end);
  require_input(end <= data_size,
                "{}: ends at data byte {}, the file has {} bytes of data (truncated?)", place, end,
                data_size);
  const std::size_t bytes = checked_bytes(entry.type, place);
  require_input(end - begin == bytes, "{}: {} needs {} bytes, data_offsets give {}", place,
                to_string(entry.type), bytes, end - begin);
  entry.begin = begin;
  return entry;
}

Metadata read_metadata(const Json& value, std::string_view path) {
  require_input(value.is_object(), "{}: __metadata__: expected an object, found {}", path,
                shortened(value));
  Metadata metadata;
  for (const auto& item : value.items()) {
    require_input(item.value().is_string(), "{}: __metadata__: {}: expected text, found {}", path,
                  quote(item.key()), shortened(item.value()));
    metadata.emplace(item.key(), item.value().get<std::string>());
  }
  return metadata;
}

// The format wants each byte of the data in exactly one tensor.
void check_cover(const std::vector<SafetensorsEntry>& entries, std::size_t data_size,
                 std::string_view path) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& entry : entries) order.push_back(&entry);
  const auto end_of = [](const SafetensorsEntry& entry) {
    return entry.begin + entry.type.bytes();
  };
  std::sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
    return std::pair(a->begin, end_of(*a)) < std::pair(b->begin, end_of(*b));
  });
  std::size_t covered = 0;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry* entry : order) {
    require_input(entry->begin >= covered,
                  "{}: tensor {} begins at data byte {}, inside tensor {}, which ends at {}", path,
                  quote(entry->name), entry->begin, previous ? quote(previous->name) : "", covered);
    require_input(entry->begin == covered,
                  "{}: data bytes {} to {}, before tensor {}, belong to no tensor", path, covered,
                  entry->begin, quote(entry->name));
    covered = end_of(*entry);
    previous = entry;
  }
  require_input(covered == data_size,
                "{}: data bytes {} to {}, at the end of the file, belong to no tensor", path,
                covered, data_size);
}

}  // namespace

SafetensorsIndex parse_safetensors(std::span<const std::byte> file, std::string_view path) {
  const std::string_view text = header_text(file, path);
  const Json header = parse_json_object(text, fmt::format("{}: header", path), kMostDepth);
  const std::size_t data_begin = kLengthBytes + text.size();
  const std::size_t data_size = file.size() - data_begin;
  SafetensorsIndex index;
  for (const auto& item : header.items()) {  // nlohmann's object is sorted by key
    if (item.key() == "__metadata__") {
      index.metadata = read_metadata(item.value(), path);
    } else {
      index.entries.push_back(read_entry(item.key(), item.value(), data_size, path));
    }
  }
  check_cover(index.entries, data_size, path);
  for (SafetensorsEntry& entry : index.entries) entry.begin += data_begin;
  return index;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), index_(parse_safetensors(file_.bytes(), path.string())) {}

std::optional<TensorView> SafetensorsFile::find(std::string_view name) const {
  const auto& entries = index_.entries;
  const auto found = std::lower_bound(
      entries.begin(), entries.end(), name,
      [](const SafetensorsEntry& entry, std::string_view key) { return entry.name < key; });
  if (found == entries.end() || found->name != name) return std::nullopt;
  return TensorView{found->type, file_.bytes().subspan(found->begin, found->type.bytes())};
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : index_.entries) names.push_back(entry.name);
  return names;
}

}  // namespace bessemer::checkpoint

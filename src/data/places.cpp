#include "data/places.h"

#include <array>
#include <cstring>
#include <string>

#include "base/error.h"
#include "data/indexed_dataset.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kMagic = "BSMPLACE";
constexpr std::size_t kRecord = sizeof(std::uint64_t) + sizeof(std::uint32_t);

}  // namespace

std::filesystem::path places_path(const std::filesystem::path& prefix) {
  return bin_path(prefix).replace_extension(".places");
}

PlacesWriter::PlacesWriter(const std::filesystem::path& path) : file_(path) {
  file_.write(std::as_bytes(std::span(kMagic)));
}

void PlacesWriter::put(const Place& place) {
  file_.put(place.offset);
  file_.put(place.file);
}

void write_places(const std::filesystem::path& prefix, const std::vector<Place>& places) {
  PlacesWriter writer(partial_path(places_path(prefix)));
  for (const Place& place : places) writer.put(place);
  writer.close();
  put_in_place(places_path(prefix));
}

Places::Places(const std::filesystem::path& prefix)
    : name_(places_path(prefix).string()), file_(places_path(prefix)) {
  check();
}

Places::Places(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)), file_(bytes) {
  check();
}

void Places::check() const {
  std::array<char, kMagic.size()> magic{};
  const bool whole = file_.size() >= kMagic.size() && (file_.size() - kMagic.size()) % kRecord == 0;
  if (whole) file_.read(0, std::as_writable_bytes(std::span(magic)));
  require_input(std::string_view(magic.data(), magic.size()) == kMagic,
                "{}: not a file of places; remove it, and the data is built anew", name_);
}

std::uint64_t Places::documents() const { return (file_.size() - kMagic.size()) / kRecord; }

Place Places::operator()(std::uint64_t document) const {
  require_input(document < documents(), "{}: document {} of {}", name_, document, documents());
  std::array<std::byte, kRecord> record;
  file_.read(kMagic.size() + document * kRecord, record);
  Place place;
  std::memcpy(&place.offset, record.data(), sizeof place.offset);
  std::memcpy(&place.file, record.data() + sizeof place.offset, sizeof place.file);
  return place;
}

}  // namespace bessemer::data

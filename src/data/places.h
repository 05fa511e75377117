// PREFIX.places: where each document of PREFIX.bin begins in the corpus it was made from, so that
// what a step read can be told. Little-endian: 8 bytes "BSMPLACE", then for each document
//
//   offset  u64  bytes of the file, uncompressed
//   file    u32  of the source's files, as the manifest lists them
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"
#include "data/record_writer.h"
#include "data/source.h"

namespace bessemer::data {

std::filesystem::path places_path(const std::filesystem::path& prefix);

/// Writes a file of this very name, place by place.
class PlacesWriter {
 public:
  explicit PlacesWriter(const std::filesystem::path& path);
  void put(const Place& place);
  void close() { file_.close(); }

 private:
  RecordWriter file_;
};

/// Whole or not at all.
void write_places(const std::filesystem::path& prefix, const std::vector<Place>& places);

/// Read at each use; any number of threads.
class Places {
 public:
  /// InputError where the file is not there or not of this kind.
  explicit Places(const std::filesystem::path& prefix);

  /// The same over bytes that outlive it; `name` is for messages.
  Places(std::span<const std::byte> bytes, std::string name);

  std::uint64_t documents() const;
  Place operator()(std::uint64_t document) const;  // InputError for a document that is none

 private:
  void check() const;

  std::string name_;
  ByteSource file_;
};

}  // namespace bessemer::data

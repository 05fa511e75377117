// Bytes in order, from a plain, gzip or zstd file or from memory, read in bounded memory.
// Every failure (unreadable, corrupt or truncated) is an InputError that names the file and the
// place in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace bessemer::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  /// Fills up to `out.size()` bytes and returns how many; 0 only at the end.
  virtual std::size_t read(std::span<char> out) = 0;

  /// Leaves out up to `n` bytes: fewer only at the end. A plain file is not read for it.
  virtual void skip(std::uint64_t n);

  /// Bytes of the underlying file consumed so far (compressed bytes where it is compressed).
  virtual std::uint64_t consumed() const = 0;
};

/// Opens `path`; ".gz" and ".zst" are decompressed (several members or frames in a row too).
std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path);

/// A stream over bytes that outlive it.
std::unique_ptr<ByteStream> memory_stream(std::string_view bytes);

}  // namespace bessemer::data

// Files: memory-mapped reads and writes that are whole or not there. Every failure is an
// InputError that names the path, the operation and the system's reason.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace bessemer {

/// A file mapped read-only. Movable; the bytes stay put until destruction. An empty file maps to
/// an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A file read at given places, without a position and without being mapped: what was read lies
/// nowhere but with the reader, and does not count as memory of the process. Any number of threads.
class FileReader {
 public:
  explicit FileReader(const std::filesystem::path& path);
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  ~FileReader();

  std::size_t size() const { return size_; }

  /// Fills `out` with the bytes from `offset` on; InputError where the file has not that many.
  void read(std::size_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
};

std::string read_file(const std::filesystem::path& path);

/// Whether a closed file is on the disk (fsync), or wherever the system keeps it for now: then it
/// outlives the process, but not a power cut.
enum class Flush { to_disk, later };

/// An unbuffered output file that checks every write. A writer destroyed without `close` leaves
/// whatever was written.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  std::size_t written() const { return written_; }
  void close(Flush flush = Flush::to_disk);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::size_t written_ = 0;
};

/// Writes `path` atomically: a temporary file beside it, fsync, rename, fsync of the directory;
/// with Flush::later without the two fsyncs. Where it fails, nothing stays.
void write_file_atomically(const std::filesystem::path& path, std::string_view text,
                           Flush flush = Flush::to_disk);

/// Flushes a directory's entries to the disk, so that a rename in it survives a power cut.
void sync_directory(const std::filesystem::path& directory);

}  // namespace bessemer

// Many small records in one file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "base/file.h"

namespace bessemer::data {

/// Buffers what it is given. InputError names the path.
class RecordWriter {
 public:
  explicit RecordWriter(const std::filesystem::path& path) : file_(path) {
    buffer_.reserve(kBytes);
  }

  /// The bytes of a value without padding.
  template <typename T>
  void put(const T& value) {
    write(std::as_bytes(std::span(&value, 1)));
  }

  void write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBytes) flush();
    if (bytes.size() > kBytes) return file_.write(bytes);
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }

  void close(Flush where = Flush::to_disk) {
    flush();
    file_.close(where);
  }

 private:
  static constexpr std::size_t kBytes = 1 << 20;
  void flush() {
    file_.write(buffer_);
    buffer_.clear();
  }

  FileWriter file_;
  std::vector<std::byte> buffer_;
};

}  // namespace bessemer::data

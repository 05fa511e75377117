// The file tier: one preallocated file that disappears with the process.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/arena.h"
#include "runtime/request_queue.h"

namespace bessemer::runtime {

/// A file of a fixed size without a name: it is unlinked as soon as it is open, so that nothing is
/// left behind however the process ends. All its space is taken when it is made, so that a full
/// disk shows before the first step. Its content starts as zeros. Opened with O_DIRECT where the
/// file system takes that.
///
/// Every failure is an InputError that names the path, the operation and the system's reason.
class TierFile {
 public:
  /// A file of `bytes` in `directory`, for `users` threads that may work on it at once.
  TierFile(const std::filesystem::path& directory, std::size_t bytes, std::size_t users,
           QueueFactory make_queue = make_request_queue);
  TierFile(const TierFile&) = delete;
  TierFile& operator=(const TierFile&) = delete;
  ~TierFile();

  /// Fill `to` from the file, or the file from `from`, at any offset. Aligned addresses, offsets
  /// and sizes (4096 bytes) go straight to the device, others through a small buffer of the user's.
  /// Allocate nothing unless they fail. `user` is below `users`; two calls by one user must not
  /// overlap.
  void read(std::size_t user, std::size_t offset, std::span<std::byte> to);
  void write(std::size_t user, std::size_t offset, std::span<const std::byte> from);

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return size_; }
  bool direct() const { return direct_; }

 private:
  struct User {
    std::unique_ptr<RequestQueue> queue;
    Arena bounce;
    std::vector<FileRequest> under_way;  // by slot; no bytes: the slot is free
  };

  void open(const std::filesystem::path& directory);
  void take_space() const;
  void transfer(User& user, FileRequest whole) const;
  void through_bounce(User& user, FileRequest whole) const;
  void straight(User& user, const FileRequest& whole) const;
  void drain(User& user, std::size_t count) const;
  [[noreturn]] void fail_transfer(const FileRequest& request, int code) const;

  std::filesystem::path path_;
  std::size_t size_;
  int descriptor_ = -1;
  bool direct_ = false;
  std::vector<User> users_;
};

}  // namespace bessemer::runtime

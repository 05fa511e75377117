// A lock between processes that ends with the one that holds it, however it ends (flock).
#pragma once

#include <filesystem>

namespace bessemer {

/// An open file that its users lock against each other; whoever opens it anew is another user. It
/// has the members that std::unique_lock and std::lock_guard call. InputError names the file.
class FileLock {
 public:
  /// The file stays where it is; it is made, empty, where it is not there.
  explicit FileLock(const std::filesystem::path& path);

  /// Of a file that is open already: takes the descriptor over.
  FileLock(int descriptor, std::filesystem::path path);

  /// Ends the lock, if it is held.
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  void lock();      // waits until nobody else holds it
  bool try_lock();  // false where somebody else holds it
  void unlock();

  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace bessemer

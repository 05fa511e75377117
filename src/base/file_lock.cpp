#include "base/file_lock.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"

namespace bessemer {
namespace {

int open_or_create(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) fail_input("{}: cannot open: {}", path.string(), std::strerror(errno));
  return descriptor;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path) : FileLock(open_or_create(path), path) {}

FileLock::FileLock(int descriptor, std::filesystem::path path)
    : path_(std::move(path)), descriptor_(descriptor) {}

FileLock::~FileLock() { ::close(descriptor_); }

void FileLock::lock() {
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno != EINTR) fail_input("{}: cannot lock: {}", path_.string(), std::strerror(errno));
  }
}

bool FileLock::try_lock() {
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) fail_input("{}: cannot lock: {}", path_.string(), std::strerror(errno));
  }
  return true;
}

void FileLock::unlock() { ::flock(descriptor_, LOCK_UN); }

}  // namespace bessemer

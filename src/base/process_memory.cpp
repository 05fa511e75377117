#include "base/process_memory.h"

#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace bessemer {
namespace {

// The bytes behind `key` in a status, whose lines are like "VmRSS:	   13968 kB".
std::size_t bytes_of(const char* status, const char* key) {
  const char* line = std::strstr(status, key);
  std::size_t kib = 0;
  if (line == nullptr || std::sscanf(line + std::strlen(key), "%zu", &kib) != 1) return 0;
  return kib * 1024;
}

}  // namespace

ProcessWatch::ProcessWatch() : status_(::open("/proc/self/status", O_RDONLY | O_CLOEXEC)) {}

ProcessWatch::ProcessWatch(pid_t process)
    : status_(::open(fmt::format("/proc/{}/status", process).c_str(), O_RDONLY | O_CLOEXEC)) {}

ProcessWatch::~ProcessWatch() {
  if (status_ >= 0) ::close(status_);
}

ProcessMemory ProcessWatch::look() const {
  char text[8192];
  const ssize_t n = status_ >= 0 ? ::pread(status_, text, sizeof text - 1, 0) : 0;
  if (n <= 0) return {};
  text[n] = '\0';
  return {bytes_of(text, "VmRSS:"), bytes_of(text, "VmHWM:"), bytes_of(text, "RssFile:"),
          bytes_of(text, "RssShmem:")};
}

}  // namespace bessemer

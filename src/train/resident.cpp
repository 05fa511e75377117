#include "train/resident.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

namespace bessemer::train {
namespace {

// The bytes behind `key` in /proc/self/status, whose lines are like "VmRSS:	   13968 kB".
std::size_t status_bytes(int descriptor, const char* key) {
  char text[8192];
  const ssize_t n = descriptor >= 0 ? ::pread(descriptor, text, sizeof text - 1, 0) : 0;
  if (n <= 0) return 0;
  text[n] = '\0';
  const char* line = std::strstr(text, key);
  std::size_t kib = 0;
  if (line == nullptr || std::sscanf(line + std::strlen(key), "%zu", &kib) != 1) return 0;
  return kib * 1024;
}

int open_status() { return ::open("/proc/self/status", O_RDONLY | O_CLOEXEC); }

// Sets the peak that the system keeps (VmHWM) to what is resident now.
bool start_peak_anew() {
  const int refs = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (refs < 0) return false;
  const bool done = ::write(refs, "5", 1) == 1;
  ::close(refs);
  return done;
}

}  // namespace

void release_slack() { ::malloc_trim(0); }

std::size_t resident_without_slack() {
  release_slack();
  const int status = open_status();
  const std::size_t bytes = status_bytes(status, "VmRSS:");
  if (status >= 0) ::close(status);
  return bytes;
}

ResidentPeak::ResidentPeak() : status_(open_status()), kept_by_the_system_(start_peak_anew()) {}

ResidentPeak::~ResidentPeak() {
  if (status_ >= 0) ::close(status_);
}

std::size_t ResidentPeak::look() {
  const char* key = kept_by_the_system_ ? "VmHWM:" : "VmRSS:";
  highest_ = std::max(highest_, status_bytes(status_, key));
  return highest_;
}

}  // namespace bessemer::train

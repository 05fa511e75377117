#include "train/resident.h"

#include <algorithm>

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

namespace bessemer::train {
namespace {

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
  return ProcessWatch().look().resident;
}

ResidentPeak::ResidentPeak() : kept_by_the_system_(start_peak_anew()) {}

std::size_t ResidentPeak::look() {
  const ProcessMemory now = process_.look();
  highest_ = std::max(highest_, kept_by_the_system_ ? now.peak : now.resident);
  return highest_;
}

}  // namespace bessemer::train

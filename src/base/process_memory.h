// How much memory a process holds, as the system counts it (/proc/PID/status).
#pragma once

#include <cstddef>

#include <sys/types.h>

namespace bessemer {

struct ProcessMemory {
  std::size_t resident = 0;  // bytes now,
  std::size_t peak = 0;      // and at most since the process began or its peak was started anew
  std::size_t files = 0;     // of `resident`: pages of files, such as the program and its libraries
  std::size_t shared = 0;    // of `resident`: memory that is made to be shared

  /// The peak without pages that other processes have as well: what is there because of this one.
  /// Less than it was where pages of files came after the peak.
  std::size_t own() const { return peak > files + shared ? peak - files - shared : 0; }
};

/// Looks at one process; nothing is allocated after the construction. Any number of threads.
class ProcessWatch {
 public:
  ProcessWatch();  // this process
  explicit ProcessWatch(pid_t process);
  ~ProcessWatch();
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  /// Zeros where the process has ended, or the system does not tell.
  ProcessMemory look() const;

 private:
  int status_ = -1;  // /proc/PID/status, which stays the file of that process and no other
};

}  // namespace bessemer

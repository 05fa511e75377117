// How much memory this process holds, as the system counts it: the pages that are resident.
#pragma once

#include <cstddef>

#include "base/process_memory.h"

namespace bessemer::train {

/// Gives memory that the heap keeps but nobody uses back to the system.
void release_slack();

/// Gives memory that the heap keeps but nobody uses back to the system (the threads that tokenize a
/// corpus leave some behind), and returns what is resident then, in bytes; 0 where the system does
/// not tell.
std::size_t resident_without_slack();

/// Watches the resident set of this process from its construction on; what was resident before,
/// while data was built or the machine measured, does not count. Allocates nothing after that.
class ResidentPeak {
 public:
  ResidentPeak();

  /// The highest since then, in bytes. The system keeps the peak itself where it lets a process
  /// start it anew; else it is the highest of what was seen at each look. 0 where it does not tell.
  std::size_t look();

 private:
  ProcessWatch process_;
  bool kept_by_the_system_ = false;
  std::size_t highest_ = 0;
};

}  // namespace bessemer::train

// One run, one directory: a lock that ends with the process that holds it.
#pragma once

#include <filesystem>

namespace bessemer::checkpoint {

/// Holds RUN/run.lock (flock) from construction to destruction; the file, which stays, tells the
/// holder's process id and host. The directory must be there. InputError names the holder where
/// another run has it.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& run_directory);
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock();

 private:
  int descriptor_ = -1;
};

}  // namespace bessemer::checkpoint

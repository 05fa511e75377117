// One run, one directory: a lock that ends with the process that holds it.
#pragma once

#include <filesystem>

#include "base/file_lock.h"

namespace bessemer::checkpoint {

/// Holds RUN/run.lock from construction to destruction; the file, which stays, tells the holder's
/// process id and host. The directory must be there. InputError names the holder where another run
/// has it.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& run_directory);

 private:
  FileLock lock_;
};

}  // namespace bessemer::checkpoint

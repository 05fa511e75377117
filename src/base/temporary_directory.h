// A directory that is gone when its owner is.
#pragma once

#include <filesystem>

namespace bessemer {

class TemporaryDirectory {
 public:
  TemporaryDirectory();  // InputError where the system's temporary directory cannot be written
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace bessemer

// A directory that is gone when the test is over.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::data {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "bessemer-data-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    FileWriter writer(path);
    writer.write(bytes);
    writer.close();
    return path;
  }

 private:
  std::filesystem::path path_;
};

/// The message of the InputError that `body` throws; "" where it throws none.
template <typename Body>
std::string input_error_of(const Body& body) {
  try {
    body();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace bessemer::data

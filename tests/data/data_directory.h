// Files for one test, and what reading bad ones says.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory.h"

namespace bessemer::data {

class DataDirectory : public TemporaryDirectory {
 public:
  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const auto path = this->path() / name;
    std::filesystem::create_directories(path.parent_path());
    FileWriter writer(path);
    writer.write(bytes);
    writer.close();
    return path;
  }
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

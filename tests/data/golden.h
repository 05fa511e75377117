// The golden files of tokenizers (golden/make_golden*.py make them).
#pragma once

#include <filesystem>
#include <string>

namespace bessemer::data {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(BESSEMER_SOURCE_DIR) / "tests/data/golden" / name;
}

}  // namespace bessemer::data

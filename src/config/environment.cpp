#include "config/environment.h"

#include <cstdlib>

namespace bessemer::config {

std::filesystem::path cache_directory() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return std::filesystem::path(cache) / "bessemer";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return std::filesystem::path(home) / ".cache" / "bessemer";
  }
  return ".bessemer";
}

}  // namespace bessemer::config

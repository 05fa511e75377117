// What Bessemer reads from the environment: the only place that does.
#pragma once

#include <filesystem>

namespace bessemer::config {

/// Where measurements of the machine are kept between runs: $XDG_CACHE_HOME/bessemer, else
/// ~/.cache/bessemer, else .bessemer in the current directory.
std::filesystem::path cache_directory();

}  // namespace bessemer::config

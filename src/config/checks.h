// What no single key can tell: keys that are missing, and keys that contradict each other.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "config/document.h"
#include "config/run_config.h"

namespace bessemer::config {

/// Where the keys of a run were set, and which of them have been complained of already.
struct Origins {
  struct Origin {
    std::string place;
    int line = kNoLine;
  };
  std::string file_name;
  std::map<std::string, Origin, std::less<>> set;  // by canonical name
  std::set<std::string, std::less<>> broken;

  bool has(std::string_view name) const { return set.find(name) != set.end(); }
};

/// Adds a complaint for each missing key and each contradiction, unless one of the keys concerned
/// is broken and has its complaint already. `config` is after fill_derived.
void check_run(const RunConfig& config, const Origins& origins, Complaints& complaints);

}  // namespace bessemer::config

// Run files and overrides: any bytes give a RunConfig or an InputError, and what was read prints to
// a run file that reads back the same. The text after the first NUL is an override.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/parse.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const auto cut = all.find('\0');
  std::vector<std::string> overrides;
  if (cut != std::string_view::npos) overrides.emplace_back(all.substr(cut + 1));
  config::RunConfig config;
  try {
    config = config::parse_run_config(all.substr(0, cut), "run.toml", overrides);
  } catch (const InputError&) {
    return 0;
  }
  // Outside the try: an error here is a defect, and must end the fuzzer.
  if (config::parse_run_config(config::to_toml(config), "run.toml") != config) std::abort();
  return 0;
}

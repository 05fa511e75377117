// Any text as the manifest of token files: refused with an InputError, or one that prints and reads
// back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "data/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  using namespace bessemer::data;
  Manifest manifest;
  try {
    manifest = parse_manifest({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const InputError&) {
    return 0;
  }
  const std::string printed = print_manifest(manifest);
  if (print_manifest(parse_manifest(printed, "again")) != printed) std::abort();
  return 0;
}

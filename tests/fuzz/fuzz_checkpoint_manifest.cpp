// Any text as a checkpoint's manifest: either an InputError or one that prints and reads back the
// same, with no file name that leads out of the directory.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "checkpoint/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  checkpoint::Manifest manifest;
  try {
    manifest = checkpoint::parse_manifest(text, "input");
  } catch (const InputError&) {
    return 0;
  }
  for (const auto& [name, entry] : manifest) {
    if (!checkpoint::is_plain_file_name(name)) std::abort();
  }
  if (checkpoint::parse_manifest(checkpoint::print_manifest(manifest), "again") != manifest) {
    std::abort();
  }
  return 0;
}

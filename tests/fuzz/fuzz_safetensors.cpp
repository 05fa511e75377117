// Any bytes as a safetensors file: either an InputError or an index whose tensors lie inside.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  const auto file = std::as_bytes(std::span(data, size));
  checkpoint::SafetensorsIndex index;
  try {
    index = checkpoint::parse_safetensors(file, "input");
  } catch (const InputError&) {
    return 0;
  }
  for (const auto& entry : index.entries) {
    if (entry.begin > size || entry.type.bytes() > size - entry.begin) std::abort();
  }
  return 0;
}

// Any bytes as a part of a build: refused with an InputError, or one whose documents and mask have
// exactly its tokens. The checksums are set right, or nothing would get past them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <xxhash.h>

#include "base/error.h"
#include "data/part_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  constexpr std::size_t kHead = 8 + 16, kSummary = 136;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size >= kHead + kSummary) {
    const std::uint64_t sums[2] = {XXH3_64bits(data + kHead, size - kHead),
                                   XXH3_64bits(data + kHead, kSummary)};
    std::memcpy(bytes.data() + 8, sums, sizeof sums);
  }
  try {
    const data::PartContent part(bytes, "fuzz");
    std::uint64_t tokens = 0;
    for (const data::PartDocument& document : part.documents()) tokens += document.tokens;
    if (tokens * part.summary().token_bytes != part.tokens().size()) std::abort();
    if (part.summary().masked && part.trained().size() != tokens) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}

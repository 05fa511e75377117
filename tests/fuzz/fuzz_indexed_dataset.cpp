// Any bytes as an .idx and a .bin file: refused with an InputError, or every token can be read.
// The first byte of the input says how long the .bin is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "data/indexed_dataset.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  using namespace bessemer::data;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const std::size_t bin_size = std::min<std::size_t>(data[0], bytes.size());
  try {
    const auto dataset =
        IndexedDataset::from_bytes(bytes.subspan(bin_size), bytes.first(bin_size), "fuzz");
    std::vector<std::int32_t> tokens;
    for (std::uint64_t d = 0; d < dataset.documents(); ++d) {
      tokens.resize(dataset.length(d));
      dataset.read(d, 0, tokens);
    }
  } catch (const InputError&) {
  }
  return 0;
}

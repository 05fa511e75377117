// Any bytes as a file of places: refused with an InputError, or every document has a place.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "data/places.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  try {
    const data::Places places(std::as_bytes(std::span(data, size)), "fuzz");
    if (places.documents() * 12 + 8 != size) std::abort();
    for (std::uint64_t d = 0; d < places.documents(); ++d) places(d);
    places(places.documents());
    std::abort();  // there is no such document
  } catch (const InputError&) {
  }
  return 0;
}

// Any bytes are refused with an InputError or are a graph whose printed text is stable and which
// the verifier judges without harm.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "ir/text.h"
#include "ops/op.h"

namespace {

void check(std::string_view text) {
  const bessemer::ir::Graph graph = bessemer::ir::parse(text);
  const std::string printed = bessemer::ir::print(graph);
  if (bessemer::ir::print(bessemer::ir::parse(printed)) != printed) std::abort();
  bessemer::ops::verify(graph);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    check({reinterpret_cast<const char*>(data), size});
  } catch (const bessemer::Error&) {
    // refused, as it should be
  }
  return 0;
}

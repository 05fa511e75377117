// A program that reads a synthetic source for a ProcessReader. Its description: "SEED LENGTH", or
// anything else to be refused.
#include <fstream>

#include <fmt/format.h>

#include "data/row_process.h"
#include "support/synthetic_source.h"

int main() {
  using namespace bessemer;
  data::serve_rows([] {
    std::ifstream description(fmt::format("/proc/self/fd/{}", data::kDescriptionDescriptor));
    std::uint32_t seed = 0;
    std::int64_t length = 0;
    require_input(static_cast<bool>(description >> seed >> length), "source.bin: no such file");
    return std::make_shared<testing::SyntheticSource>(seed, length);
  });
}

#include "kernels/fp8.h"

#include "base/error.h"

namespace bessemer::kernels {

Fp8Block fp8_block(const Attributes& attributes, std::string_view name) {
  const std::string text = attributes.text(name);
  const auto block = parse_fp8_block(text);
  require(block.has_value(),
          "attribute '{}' is \"{}\", expected \"tensor\", \"1x128\" or \"128x128\"", name, text);
  return *block;
}

QuantizeFp8Use::QuantizeFp8Use(const Attributes& attributes)
    : program(attributes.text("program", "")),
      block(fp8_block(attributes, "block")),
      keep(attributes.boolean("keep", false)),
      transposed(attributes.boolean("transposed", false)),
      sum(attributes.boolean("sum", false)),
      measure(attributes.boolean("measure", false)),
      indices(attributes.integers("indices", std::vector<std::int64_t>{0})),
      assumed(static_cast<float>(attributes.real("assumed", 0))) {
  require(!indices.empty(), "attribute 'indices' is empty, expected one for each value");
}

}  // namespace bessemer::kernels

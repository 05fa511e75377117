// Any bytes as a tokenizer's file of any kind: refused with an InputError, or a tokenizer that
// encodes and decodes, the same with its cache and without.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  using namespace bessemer::data;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = parse_tokenizer(bytes, "fuzz_cl100k_base");
    const std::string text =
        "It's <sym> mill\u2581 e\u0301 \u00bd\r\n\n <mask> " + std::string(bytes.substr(0, 200));
    Encoder encoder(tokenizer);
    std::vector<std::int32_t> once, twice;
    encoder.encode(text, AddedTokens::as_ids, once);
    encoder.encode(text, AddedTokens::as_ids, twice);
    if (once != twice || once != tokenizer.encode(text)) std::abort();
    tokenizer.decode(once);
  } catch (const InputError&) {
  }
  return 0;
}

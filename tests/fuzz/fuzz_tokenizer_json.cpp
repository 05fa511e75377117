// Any bytes as a tokenizer.json: refused with an InputError, or a tokenizer that gives every text
// back and whose own file reads back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  using namespace bessemer::data;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = parse_tokenizer_json(bytes, "fuzz");
    const std::string text =
        "It's 12 o'clock\n\n  <|endoftext|> " + std::string(bytes.substr(0, 200));
    if (tokenizer.decode(tokenizer.encode(text)) != text) std::abort();
    const Tokenizer again = parse_tokenizer_json(to_tokenizer_json(tokenizer), "again");
    if (again.encode(text) != tokenizer.encode(text)) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}

// Any bytes as a tokenizer.json: refused with an InputError, or a tokenizer. One like those that
// are trained here gives every text back, and its own file reads back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer_json.h"

namespace {

using namespace bessemer::data;

/// Byte-level BPE with one pattern, and added tokens that take nothing with them.
bool is_plain(const TokenizerModel& model) {
  for (const AddedToken& token : model.added) {
    if (token.strip_left || token.strip_right) return false;
  }
  const bool one_pattern = model.pretokenizer.size() == 1 &&
                           std::holds_alternative<PatternStep>(model.pretokenizer.front());
  return model.byte_level() && model.normalizer.empty() &&
         (one_pattern || model.pretokenizer.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bessemer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = parse_tokenizer_json(bytes, "fuzz");
    if (!is_plain(tokenizer.model())) return 0;
    const std::string text =
        "It's 12 o'clock\n\n  <|endoftext|> " + std::string(bytes.substr(0, 200));
    if (tokenizer.decode(tokenizer.encode(text)) != text) std::abort();
    const Tokenizer again = parse_tokenizer_json(to_tokenizer_json(tokenizer), "again");
    if (again.encode(text) != tokenizer.encode(text)) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}

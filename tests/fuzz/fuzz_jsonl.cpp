// Any bytes as a corpus: refused with an InputError, or documents that are never empty and that do
// not depend on the size of the pieces they come in.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/source.h"

namespace {

using namespace bessemer::data;

std::vector<std::string> documents_of(std::string_view bytes, Format format, std::size_t piece) {
  StreamReader reader(memory_stream(bytes), "fuzz", format, {"text", piece});
  std::vector<std::string> documents;
  bool open = false;
  for (Piece next; reader.next(next); open = !next.ends_document) {
    if (next.text.empty()) std::abort();
    open ? documents.back() += next.text : documents.emplace_back(next.text);
  }
  if (open) std::abort();
  return documents;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const Format format : {Format::jsonl, Format::text}) {
    try {
      if (documents_of(bytes, format, 0) != documents_of(bytes, format, 4)) std::abort();
    } catch (const bessemer::InputError&) {
    }
  }
  return 0;
}

// Any bytes as conversations: refused with an InputError, or rendered so that spans cover the text
// and no empty document comes out; and what one policy stops at the other skips.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "data/source.h"

namespace {

using namespace bessemer::data;

std::uint64_t bad_records_of(std::string_view bytes, const ReaderOptions& options) {
  StreamReader reader(memory_stream(bytes), "fuzz", Format::jsonl, options);
  for (Piece piece; reader.next(piece);) {
    std::size_t covered = 0;
    bool trained = false;
    for (const TextSpan& span : piece.spans) {
      if (span.bytes == 0) std::abort();
      covered += span.bytes;
      trained = trained || span.trained;
    }
    if (covered != piece.text.size() || !trained || !piece.ends_document) std::abort();
  }
  return reader.bad_records();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bessemer::log::set_level(bessemer::log::Level::off);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"chatml", "llama3", "mistral", "zephyr"}) {
    ReaderOptions options;
    options.piece_bytes = 4;
    options.chat = std::make_shared<const ChatTemplate>(find_chat_template(name));
    options.on_bad_record = OnBadRecord::skip;
    const bool bad = bad_records_of(bytes, options) > 0;
    options.on_bad_record = OnBadRecord::stop;
    bool stopped = false;
    try {
      bad_records_of(bytes, options);
    } catch (const bessemer::InputError&) {
      stopped = true;
    }
    if (bad != stopped) std::abort();
  }
  return 0;
}

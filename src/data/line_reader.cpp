#include "data/line_reader.h"

#include <cstring>

namespace bessemer::data {
namespace {

constexpr std::size_t kReadBytes = 1 << 18;

}  // namespace

LineReader::LineReader(std::unique_ptr<ByteStream> stream)
    : stream_(std::move(stream)), buffer_(kReadBytes) {}

bool LineReader::append_next(std::string& text) {
  const std::size_t before = text.size();
  while (true) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = stream_->read(buffer_);
      if (end_ == 0) break;
    }
    const char* first = buffer_.data() + begin_;
    const auto* newline = static_cast<const char*>(std::memchr(first, '\n', end_ - begin_));
    const std::size_t n =
        newline == nullptr ? end_ - begin_ : static_cast<std::size_t>(newline - first) + 1;
    text.append(first, n);
    begin_ += n;
    if (newline != nullptr) break;
  }
  return text.size() > before;
}

}  // namespace bessemer::data

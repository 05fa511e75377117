#include "data/sequence_writer.h"

#include <algorithm>

namespace bessemer::data {
namespace {

// Fills a sequence part by part.
class Writer {
 public:
  Writer(TokenStream& stream, const SequenceView& out) : stream_(stream), out_(out) {}

  void add(const Part& part) {
    const auto tokens = out_.tokens.subspan(filled_, part.count);
    const auto targets = out_.targets.subspan(filled_, part.count);
    const std::uint64_t length = stream_.go_to(part.stream);
    stream_.read(part.begin, tokens);
    std::copy(tokens.begin() + 1, tokens.end(), targets.begin());
    targets.back() = -1;
    const std::uint64_t end = part.begin + part.count;
    const bool goes_on = end < length;
    if (goes_on) stream_.read(end, targets.last(1));
    const auto predicted = targets.first(part.count - (goes_on ? 0 : 1));
    stream_.mask(part.begin + 1, predicted);
    valid_ += std::count_if(predicted.begin(), predicted.end(), [](auto id) { return id >= 0; });
    mark(part.count);
  }

  std::int64_t finish(std::int32_t end_of_text) {
    const auto rest = static_cast<std::ptrdiff_t>(filled_);
    std::fill(out_.tokens.begin() + rest, out_.tokens.end(), end_of_text);
    std::fill(out_.targets.begin() + rest, out_.targets.end(), -1);
    mark(out_.tokens.size() - filled_);
    return valid_;
  }

 private:
  // The next `count` positions see each other and nothing else.
  void mark(std::size_t count) {
    for (std::size_t t = 0; t < count; ++t) {
      out_.positions[filled_ + t] = static_cast<std::int32_t>(t);
      out_.visibility[2 * (filled_ + t)] = static_cast<std::int32_t>(filled_);
      out_.visibility[2 * (filled_ + t) + 1] = static_cast<std::int32_t>(filled_ + count);
    }
    filled_ += count;
  }

  TokenStream& stream_;
  const SequenceView& out_;
  std::size_t filled_ = 0;
  std::int64_t valid_ = 0;
};

}  // namespace

std::int64_t write_sequence(TokenStream& stream, const Layout& layout, std::uint64_t sequence,
                            std::int32_t end_of_text, const SequenceView& out) {
  Writer writer(stream, out);
  layout.visit(sequence, [&writer](const Part& part) { writer.add(part); });
  return writer.finish(end_of_text);
}

}  // namespace bessemer::data

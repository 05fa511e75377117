#include "data/layout.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <set>

#include "base/rng.h"

namespace bessemer::data {
namespace {

class MemoryLayout final : public Layout, public PartSink {
 public:
  MemoryLayout(const Streams& streams, const LayoutOptions& options)
      : length_(static_cast<std::uint64_t>(options.length)) {
    tokens_ = lay_out(streams, options, *this);
  }

  std::uint64_t sequences() const override { return first_.size(); }
  std::uint64_t tokens() const override { return tokens_; }

  void visit(std::uint64_t sequence, const PartVisitor& visitor) const override {
    const bool last = sequence + 1 == first_.size();
    const std::uint64_t end = last ? parts_.size() : first_[sequence + 1];
    for (std::uint64_t i = first_[sequence]; i < end; ++i) visitor(parts_[i]);
  }

  std::uint64_t padding() const override {
    std::uint64_t filled = 0;
    for (const Part& part : parts_) filled += part.count;
    return first_.size() * length_ - filled;
  }

  void begin_sequence() override { first_.push_back(parts_.size()); }
  void add(const Part& part) override { parts_.push_back(part); }

 private:
  std::uint64_t length_;
  std::uint64_t tokens_ = 0;
  std::vector<Part> parts_;
  std::vector<std::uint64_t> first_;  // by sequence, its first part
};

std::uint64_t tokens_of(const Streams& streams) {
  std::uint64_t tokens = 0;
  streams.visit([&](const Streams::Stream& stream) { tokens += stream.tokens; });
  return tokens;
}

void concatenate(const Streams& streams, const LayoutOptions& options, std::uint64_t tokens,
                 PartSink& sink) {
  if (tokens == 0) return;
  const auto length = static_cast<std::uint64_t>(options.length);
  const std::uint64_t predictions = tokens - 1;
  const bool padded = options.tail == Tail::pad && predictions % length != 0;
  const std::uint64_t sequences =
      std::max<std::uint64_t>(predictions / length + (padded ? 1 : 0), 1);
  const std::uint64_t end = std::min(sequences * length, tokens);
  std::uint64_t at = 0;
  streams.visit([&](const Streams::Stream& stream) {
    for (std::uint64_t begin = 0; begin < stream.tokens && at < end;) {
      if (at % length == 0) sink.begin_sequence();
      const std::uint64_t count = std::min({stream.tokens - begin, length - at % length, end - at});
      sink.add({begin, stream.id, static_cast<std::uint32_t>(count)});
      begin += count;
      at += count;
    }
  });
}

// The pieces of all streams, one after the other.
class Pieces {
 public:
  Pieces(const Streams& streams, std::uint64_t length, std::uint64_t seed)
      : streams_(streams), length_(length), order_(streams.size(), seed) {}

  /// False where there is none left.
  bool next(Part& piece) {
    while (stream_.tokens < begin_ + 2) {
      if (turn_ == order_.size()) return false;
      stream_ = streams_.at(order_(turn_++));
      tokens_ += stream_.tokens;
      begin_ = 0;
    }
    const std::uint64_t count = std::min(length_, stream_.tokens - 1 - begin_);
    piece = {begin_, stream_.id, static_cast<std::uint32_t>(count)};
    begin_ += count;
    return true;
  }

  std::uint64_t tokens() const { return tokens_; }

 private:
  const Streams& streams_;
  std::uint64_t length_;
  Permutation order_;
  Streams::Stream stream_;  // at hand
  std::uint64_t turn_ = 0, begin_ = 0, tokens_ = 0;
};

// The pieces that wait, by arrival and by length.
class Window {
 public:
  std::size_t size() const { return by_length_.size(); }

  void add(const Part& piece) {
    by_length_.emplace(piece.count, arrivals_);
    waiting_.push_back({piece, arrivals_++, false});
  }

  Part take_oldest() {
    const Waiting oldest = waiting_.front();
    by_length_.erase({oldest.piece.count, oldest.arrival});
    waiting_.pop_front();
    drop_taken();
    return oldest.piece;
  }

  /// The longest piece of at most `most` tokens, of equal ones the oldest; false: there is none.
  bool take_longest(std::uint64_t most, Part& piece) {
    const auto after = by_length_.upper_bound({most, std::numeric_limits<std::uint64_t>::max()});
    if (after == by_length_.begin()) return false;
    const auto at = by_length_.lower_bound({std::prev(after)->first, 0});
    Waiting& found = waiting_[at->second - waiting_.front().arrival];
    piece = found.piece;
    found.taken = true;
    by_length_.erase(at);
    drop_taken();
    return true;
  }

 private:
  struct Waiting {
    Part piece;
    std::uint64_t arrival;
    bool taken;
  };

  void drop_taken() {
    while (!waiting_.empty() && waiting_.front().taken) waiting_.pop_front();
  }

  std::deque<Waiting> waiting_;                                  // its front is never taken
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_length_;  // (length, arrival)
  std::uint64_t arrivals_ = 0;
};

std::uint64_t pack_best_fit(const Streams& streams, const LayoutOptions& options, PartSink& sink) {
  const auto positions = static_cast<std::uint64_t>(options.length);
  Pieces pieces(streams, positions, options.seed);
  Window waiting;
  Part piece;
  const auto fill_window = [&] {
    while (waiting.size() < options.window && pieces.next(piece)) waiting.add(piece);
  };
  for (fill_window(); waiting.size() > 0; fill_window()) {
    sink.begin_sequence();
    piece = waiting.take_oldest();
    sink.add(piece);
    std::uint64_t left = positions - piece.count;
    while (left > 0 && waiting.take_longest(left, piece)) {
      sink.add(piece);
      left -= piece.count;
    }
  }
  return pieces.tokens();
}

}  // namespace

std::uint64_t lay_out(const Streams& streams, const LayoutOptions& options, PartSink& sink) {
  if (options.packing == Packing::best_fit) return pack_best_fit(streams, options, sink);
  const std::uint64_t tokens = tokens_of(streams);
  concatenate(streams, options, tokens, sink);
  return tokens;
}

std::unique_ptr<const Layout> make_layout(const Streams& streams, const LayoutOptions& options) {
  return std::make_unique<const MemoryLayout>(streams, options);
}

}  // namespace bessemer::data

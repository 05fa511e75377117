#include "data/layout.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <set>

#include "base/rng.h"

namespace bessemer::data {
namespace {

class Concatenation final : public Layout {
 public:
  Concatenation(std::span<const std::uint64_t> offsets, std::uint64_t length, Tail tail)
      : offsets_(offsets), length_(length) {
    const std::uint64_t predictions = offsets_.back() - 1;
    const bool padded = tail == Tail::pad && predictions % length != 0;
    sequences_ = std::max<std::uint64_t>(predictions / length + (padded ? 1 : 0), 1);
  }

  std::uint64_t sequences() const override { return sequences_; }

  void visit(std::uint64_t sequence, const PartVisitor& visitor) const override {
    const std::uint64_t start = sequence * length_;
    const std::uint64_t stop = std::min(start + length_, offsets_.back());
    const auto after = std::upper_bound(offsets_.begin(), offsets_.end(), start);
    auto stream = static_cast<std::size_t>(after - offsets_.begin()) - 1;
    for (std::uint64_t at = start; at < stop; ++stream) {
      const std::uint64_t end = std::min(offsets_[stream + 1], stop);
      if (end == at) continue;  // an empty stream
      visitor({at - offsets_[stream], static_cast<std::uint32_t>(stream),
               static_cast<std::uint32_t>(end - at)});
      at = end;
    }
  }

  std::uint64_t padding() const override {
    const std::uint64_t positions = sequences_ * length_;
    return positions - std::min(positions, offsets_.back());
  }

 private:
  std::span<const std::uint64_t> offsets_;
  std::uint64_t length_;
  std::uint64_t sequences_ = 0;
};

class Packed final : public Layout {
 public:
  explicit Packed(std::uint64_t length) : length_(length) {}

  std::uint64_t sequences() const override { return first_.size(); }

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

  void begin_sequence() { first_.push_back(parts_.size()); }
  void add(const Part& part) { parts_.push_back(part); }

 private:
  std::uint64_t length_;
  std::vector<Part> parts_;
  std::vector<std::uint64_t> first_;  // by sequence, its first part
};

// The pieces of all streams, one after the other.
class Pieces {
 public:
  Pieces(std::span<const std::uint64_t> offsets, std::uint64_t length, std::uint64_t seed)
      : offsets_(offsets), length_(length), order_(offsets.size() - 1, seed) {}

  /// False where there is none left.
  bool next(Part& piece) {
    for (; turn_ < order_.size(); ++turn_, begin_ = 0) {
      const std::uint64_t stream = order_(turn_);
      const std::uint64_t tokens = offsets_[stream + 1] - offsets_[stream];
      if (tokens < begin_ + 2) continue;
      const std::uint64_t count = std::min(length_, tokens - 1 - begin_);
      piece = {begin_, static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(count)};
      begin_ += count;
      return true;
    }
    return false;
  }

 private:
  std::span<const std::uint64_t> offsets_;
  std::uint64_t length_;
  Permutation order_;
  std::uint64_t turn_ = 0, begin_ = 0;
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

}  // namespace

std::unique_ptr<const Layout> concatenate(std::span<const std::uint64_t> offsets,
                                          std::int64_t length, Tail tail) {
  return std::make_unique<const Concatenation>(offsets, static_cast<std::uint64_t>(length), tail);
}

std::unique_ptr<const Layout> pack_best_fit(std::span<const std::uint64_t> offsets,
                                            std::int64_t length, std::uint64_t seed,
                                            std::size_t window) {
  const auto positions = static_cast<std::uint64_t>(length);
  auto packed = std::make_unique<Packed>(positions);
  Pieces pieces(offsets, positions, seed);
  Window waiting;
  Part piece;
  const auto fill_window = [&] {
    while (waiting.size() < window && pieces.next(piece)) waiting.add(piece);
  };
  for (fill_window(); waiting.size() > 0; fill_window()) {
    packed->begin_sequence();
    piece = waiting.take_oldest();
    packed->add(piece);
    std::uint64_t left = positions - piece.count;
    while (left > 0 && waiting.take_longest(left, piece)) {
      packed->add(piece);
      left -= piece.count;
    }
  }
  return packed;
}

}  // namespace bessemer::data

#include "data/layout.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace bessemer::data {
namespace {

class VectorStreams final : public Streams {
 public:
  explicit VectorStreams(std::vector<std::uint64_t> lengths) : lengths_(std::move(lengths)) {}
  std::uint64_t size() const override { return lengths_.size(); }
  Stream at(std::uint64_t i) const override { return {static_cast<std::uint32_t>(i), lengths_[i]}; }
  void visit(const std::function<void(const Stream&)>& visitor) const override {
    for (std::uint64_t i = 0; i < size(); ++i) visitor(at(i));
  }

 private:
  std::vector<std::uint64_t> lengths_;
};

LayoutOptions concatenation(std::int64_t length, Tail tail) {
  return {Packing::concatenate, length, tail};
}

LayoutOptions best_fit(std::int64_t length, std::uint64_t seed, std::size_t window = 4096) {
  return {Packing::best_fit, length, Tail::drop, seed, window};
}

std::vector<Part> parts_of(const Layout& layout, std::uint64_t sequence) {
  std::vector<Part> parts;
  layout.visit(sequence, [&](const Part& part) { parts.push_back(part); });
  return parts;
}

std::vector<std::uint64_t> random_lengths(std::uint64_t seed, std::size_t count,
                                          std::uint32_t longest) {
  const CounterRng rng(seed, 0, 0);
  std::vector<std::uint64_t> lengths(count);
  for (std::size_t i = 0; i < count; ++i) lengths[i] = rng.word(i) % (longest + 1);
  return lengths;
}

TEST(Concatenation, CutsTheStreamsWhereWindowsEnd) {
  const VectorStreams streams({4, 0, 2, 7});
  const auto layout = make_layout(streams, concatenation(5, Tail::drop));
  ASSERT_EQ(layout->sequences(), 2u);  // 12 predictions
  const std::vector<Part> first = parts_of(*layout, 0), second = parts_of(*layout, 1);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].stream, 0u);
  EXPECT_EQ(first[0].count, 4u);
  EXPECT_EQ(first[1].stream, 2u);
  EXPECT_EQ(first[1].count, 1u);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].stream, 2u);
  EXPECT_EQ(second[0].begin, 1u);
  EXPECT_EQ(second[1].stream, 3u);
  EXPECT_EQ(second[1].count, 4u);
  EXPECT_EQ(layout->padding(), 0u);
  EXPECT_EQ(make_layout(streams, concatenation(5, Tail::pad))->sequences(), 3u);
  EXPECT_EQ(make_layout(streams, concatenation(5, Tail::pad))->padding(), 2u);
}

// Of every stream, all positions but the last, each once; no sequence above its length.
TEST(BestFit, EveryPositionOfEveryStreamOnce) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<std::uint64_t> lengths = random_lengths(seed, 500, 90);
    const VectorStreams streams(lengths);
    constexpr std::int64_t kLength = 32;
    const auto layout = make_layout(streams, best_fit(kLength, seed, 1 + seed * 7));
    std::vector<std::vector<int>> seen(lengths.size());
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      seen[i].resize(std::max<std::uint64_t>(lengths[i], 1) - 1);
    }
    std::uint64_t filled = 0;
    for (std::uint64_t s = 0; s < layout->sequences(); ++s) {
      std::uint64_t count = 0;
      for (const Part& part : parts_of(*layout, s)) {
        ASSERT_GT(part.count, 0u);
        count += part.count;
        for (std::uint64_t t = part.begin; t < part.begin + part.count; ++t) {
          ++seen[part.stream].at(t);
        }
      }
      EXPECT_LE(count, static_cast<std::uint64_t>(kLength));
      EXPECT_GT(count, 0u);
      filled += count;
    }
    for (const auto& stream : seen) {
      EXPECT_TRUE(std::all_of(stream.begin(), stream.end(), [](int n) { return n == 1; }));
    }
    EXPECT_EQ(layout->padding(), layout->sequences() * kLength - filled);
  }
}

// A stream that fits a sequence is never cut; a longer one only every so many positions.
TEST(BestFit, CutsOnlyWhatIsTooLong) {
  const std::vector<std::uint64_t> lengths = random_lengths(3, 400, 200);
  const VectorStreams streams(lengths);
  const auto layout = make_layout(streams, best_fit(64, 1));
  for (std::uint64_t s = 0; s < layout->sequences(); ++s) {
    for (const Part& part : parts_of(*layout, s)) {
      EXPECT_EQ(part.begin % 64, 0u);
      const bool ends = part.begin + part.count + 1 == lengths[part.stream];
      EXPECT_TRUE(ends || part.count == 64);
    }
  }
}

TEST(BestFit, LittlePaddingWithALongTail) {
  const CounterRng rng(11, 0, 0);
  std::vector<std::uint64_t> lengths;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double u = (rng.word(i) + 0.5) / 4294967296.0;
    lengths.push_back(static_cast<std::uint64_t>(std::min(100 / std::pow(u, 0.9), 1e6)));
  }
  const VectorStreams streams(lengths);
  const auto share = [&](std::size_t window) {
    const auto layout = make_layout(streams, best_fit(1024, 5, window));
    return static_cast<double>(layout->padding()) /
           (static_cast<double>(layout->sequences()) * 1024);
  };
  EXPECT_LT(share(4096), 0.01);
  EXPECT_GT(share(1), 0.1);  // the next stream in order, or padding
}

TEST(BestFit, TheSeedDecides) {
  const VectorStreams streams(random_lengths(8, 300, 60));
  const auto signature = [&](std::uint64_t seed) {
    const auto layout = make_layout(streams, best_fit(64, seed));
    std::vector<std::uint32_t> seen;
    for (std::uint64_t s = 0; s < layout->sequences(); ++s) {
      for (const Part& part : parts_of(*layout, s)) seen.push_back(part.stream);
    }
    return seen;
  };
  EXPECT_EQ(signature(1), signature(1));
  EXPECT_NE(signature(1), signature(2));
}

TEST(BestFit, NothingToPredictIsNoSequence) {
  const VectorStreams streams({0, 1, 1, 0});
  EXPECT_EQ(make_layout(streams, best_fit(8, 0))->sequences(), 0u);
}

}  // namespace
}  // namespace bessemer::data

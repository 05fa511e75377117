#include "data/prefetch.h"

#include <vector>

#include <gtest/gtest.h>

namespace bessemer::data {
namespace {

TEST(Prefetch, BoundsHoldAStepAndAreNoMoreThanTheMemory) {
  struct Case {
    std::size_t rows;
    std::int64_t ranks;
    std::size_t row_bytes, bytes, least, most;
  };
  const Case kCases[] = {
      {8, 1, 100, 0, 8, 8},         // a step, whatever the memory
      {8, 1, 100, 5000, 8, 50},     //
      {8, 1, 100, 799, 8, 8},       //
      {8, 2, 100, 799, 16, 16},     // ranks may be a step apart
      {8, 2, 100, 5000, 16, 50},    //
      {2, 1, 10, 1 << 30, 2, 512},  // rows that are small need no end of them
  };
  for (const Case& c : kCases) {
    const PrefetchBounds bounds = prefetch_bounds(c.rows, c.ranks, c.row_bytes, c.bytes);
    EXPECT_EQ(bounds.least, c.least);
    EXPECT_EQ(bounds.most, c.most);
  }
}

TEST(Prefetch, WorkersFollowWhatASourceCosts) {
  struct Case {
    const char* what;
    double rows, mean, step;
    int present, most, expected;
  };
  const Case kCases[] = {
      {"nothing is known yet", 8, 0.01, 0, 1, 4, 1},
      {"cheap", 8, 0.001, 1, 1, 4, 1},
      {"just within a step, without anything to spare", 10, 0.1, 1, 1, 4, 2},
      {"heavier in the mixture", 20, 0.1, 1, 1, 4, 3},
      {"slower", 10, 0.2, 1, 1, 4, 3},
      {"20 times slower: as many as may be", 10, 2, 1, 1, 4, 4},
      {"not far below: none is let go", 10, 0.15, 1, 3, 4, 3},
      {"far below", 10, 0.05, 1, 4, 4, 1},
      {"not in the mixture any more", 0, 0.5, 1, 4, 4, 1},
      {"a step of no time at all", 10, 1, 1e-300, 1, 4, 4},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(workers_for({c.rows, c.mean, c.mean}, c.step, c.present, c.most), c.expected)
        << c.what;
  }
}

TEST(Prefetch, DepthCoversTheLongestReadAndGrowsWhileAnyoneWaits) {
  const PrefetchBounds bounds{8, 100};
  const std::vector<SourceLoad> quick{{4, 0.001, 0.002}, {4, 0.001, 0.5}};
  EXPECT_EQ(depth_for(quick, 0, 8, false, 8, bounds), 8u);     // nothing is known yet
  EXPECT_EQ(depth_for(quick, 1, 8, false, 8, bounds), 16u);    // half a step at the longest
  EXPECT_EQ(depth_for(quick, 0.1, 8, false, 8, bounds), 48u);  // five steps
  EXPECT_EQ(depth_for(quick, 1, 8, true, 16, bounds), 32u);
  EXPECT_EQ(depth_for(quick, 1, 8, false, 64, bounds), 64u);  // it does not shrink
  EXPECT_EQ(depth_for(quick, 1, 8, true, 64, bounds), 100u);
  EXPECT_EQ(depth_for(quick, 1e-300, 8, true, 8, bounds), 100u);
}

TEST(Prefetch, OnlyWaitsThatCountAreNoticed) {
  EXPECT_FALSE(is_noticeable(0.0005, 0.001));  // a thread was woken
  EXPECT_TRUE(is_noticeable(0.002, 0.01));
  EXPECT_FALSE(is_noticeable(0.01, 1));
  EXPECT_TRUE(is_noticeable(0.03, 1));
}

}  // namespace
}  // namespace bessemer::data

#include "plan/assign.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "base/arena.h"
#include "base/rng.h"

namespace bessemer::plan {
namespace {

// Sizes over three decades, lives of a few instructions and some that span much of the program:
// what a training step looks like.
std::vector<Block> random_blocks(std::uint64_t seed, int instructions) {
  const CounterRng rng(seed, 0, 0);
  std::uint64_t next = 0;
  const auto below = [&](std::uint32_t n) { return static_cast<int>(rng.word(next++) % n); };
  std::vector<Block> blocks(static_cast<std::size_t>(20 + below(180)));
  for (Block& block : blocks) {
    block.bytes = static_cast<std::size_t>(1 + below(1000)) << below(8);
    block.first = below(static_cast<std::uint32_t>(instructions));
    const int longest = below(4) == 0 ? instructions : 6;
    block.last =
        std::min(instructions - 1, block.first + below(static_cast<std::uint32_t>(longest)));
  }
  return blocks;
}

void expect_valid(const std::vector<Block>& blocks, std::size_t needed) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Block& a = blocks[i];
    ASSERT_EQ(a.offset % Arena::kAlignment, 0u);
    ASSERT_LE(a.offset + a.bytes, needed);
    for (std::size_t j = i + 1; j < blocks.size(); ++j) {
      const Block& b = blocks[j];
      const bool in_time = a.first <= b.last && b.first <= a.last;
      const bool in_space = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      ASSERT_FALSE(in_time && in_space) << "blocks " << i << " and " << j;
    }
  }
}

TEST(AssignOffsets, NeverOverlapsAndStaysNearTheLivePeak) {
  constexpr int kGraphs = 1000, kInstructions = 100;
  std::vector<double> ratios;
  for (int g = 0; g < kGraphs; ++g) {
    std::vector<Block> blocks = random_blocks(static_cast<std::uint64_t>(g), kInstructions);
    const std::size_t needed = assign_offsets(blocks);
    expect_valid(blocks, needed);
    if (HasFatalFailure()) return;
    const LivePeak peak = live_peak(blocks, kInstructions);
    ASSERT_GE(needed, peak.bytes);
    ratios.push_back(static_cast<double>(needed) / static_cast<double>(peak.bytes));
  }
  std::sort(ratios.begin(), ratios.end());
  double sum = 0;
  for (const double ratio : ratios) sum += ratio;
  const auto within = std::upper_bound(ratios.begin(), ratios.end(), 1.02) - ratios.begin();
  std::printf(
      "bytes needed over live peak, %d graphs: mean %.4f, median %.4f, 90%% %.4f, "
      "99%% %.4f, largest %.4f; within 2%%: %ld\n",
      kGraphs, sum / kGraphs, ratios[kGraphs / 2], ratios[kGraphs * 9 / 10],
      ratios[kGraphs * 99 / 100], ratios.back(), static_cast<long>(within));
  EXPECT_LT(sum / kGraphs, 1.025);
  EXPECT_GT(within, 650);
  EXPECT_LT(ratios.back(), 1.22);
}

TEST(AssignOffsets, SmallCasesAreOptimal) {
  struct Case {
    const char* what;
    std::vector<Block> blocks;
    std::size_t needed;
  };
  const std::array<Case, 5> cases{{
      {"nothing", {}, 0},
      {"one byte takes one alignment", {{1, 0, 0}}, 64},
      {"one after the other share", {{128, 0, 1}, {128, 2, 3}}, 128},
      {"the last instruction of one is the first of the other", {{128, 0, 1}, {128, 1, 2}}, 256},
      {"a gap is filled", {{256, 0, 9}, {128, 0, 4}, {128, 5, 9}, {64, 3, 6}}, 448},
  }};
  for (const Case& c : cases) {
    std::vector<Block> blocks = c.blocks;
    EXPECT_EQ(assign_offsets(blocks), c.needed) << c.what;
    expect_valid(blocks, c.needed);
  }
}

TEST(LivePeak, CountsWhatLivesAtOneInstruction) {
  const std::vector<Block> blocks{{64, 0, 2}, {100, 2, 3}, {64, 3, 5}};
  const LivePeak peak = live_peak(blocks, 6);
  EXPECT_EQ(peak.bytes, 64u + 128u);  // blocks count by aligned size
  EXPECT_EQ(peak.at, 2);
}

}  // namespace
}  // namespace bessemer::plan

#include "data/mixture_schedule.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"

namespace bessemer::data {
namespace {

constexpr std::uint64_t kEndless = MixtureSchedule::kEndless;

// Each source's own index counts its turns, whatever the stages, ramps and limits; and `turns` is
// that count.
void expect_counts(const MixtureSchedule& schedule, std::size_t sources, std::uint64_t n) {
  std::vector<std::uint64_t> turns(sources, 0);
  for (std::uint64_t i = 0; i < n; ++i) {
    if (i % 97 == 0) {
      ASSERT_EQ(schedule.turns(i), turns) << i;
    }
    const Interleave::Turn turn = schedule(i);
    ASSERT_EQ(turn.index, turns[turn.source]++) << "sequence " << i;
  }
  EXPECT_EQ(schedule.turns(n), turns);
}

TEST(MixtureSchedule, OneStageIsAnInterleave) {
  const std::vector<double> weights{5, 3, 2};
  const MixtureSchedule schedule({{0, weights}}, {kEndless, kEndless, kEndless});
  const Interleave interleave(weights);
  EXPECT_EQ(schedule.sequences(), kEndless);
  for (const std::uint64_t n : {0ul, 1ul, 7ul, 999ul, 1'000'000'000'000ul}) {
    EXPECT_EQ(schedule(n).source, interleave(n).source);
    EXPECT_EQ(schedule(n).index, interleave(n).index);
  }
}

TEST(MixtureSchedule, CountsThroughRandomStages) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const CounterRng rng(seed, 0, 0);
    std::uint64_t draw = 0;
    const std::size_t sources = 1 + rng.word(draw++) % 5;
    std::vector<std::uint64_t> limits;
    for (std::size_t s = 0; s < sources; ++s) {
      limits.push_back(rng.word(draw++) % 3 == 0 && s > 0 ? rng.word(draw++) % 2000 : kEndless);
    }
    std::vector<MixtureStage> stages;
    std::uint64_t first = 0;
    for (std::size_t i = 0; i < 1 + rng.word(0) % 4; ++i) {
      std::vector<double> weights{0.1};  // the endless one takes part always
      while (weights.size() < sources) weights.push_back(rng.word(draw++) % 4);
      const std::uint64_t length = 1 + rng.word(draw++) % 1500;
      stages.push_back({first, weights});
      if (i > 0 && rng.word(draw++) % 2 == 0) stages[i - 1].to = weights;
      first += length;
    }
    expect_counts(MixtureSchedule(stages, limits), sources, 5000);
  }
}

// The mixture asked for is the one given: within 0.1% of all sequences of a stage of 10,000.
TEST(MixtureSchedule, EveryStageHasItsShares) {
  const std::vector<MixtureStage> stages{{0, {0.613, 0.387}}, {10'000, {0.05, 0.95}}};
  const MixtureSchedule schedule(stages, {kEndless, kEndless});
  const auto first = schedule.turns(10'000), both = schedule.turns(20'000);
  EXPECT_NEAR(static_cast<double>(first[0]), 6130, 10);
  EXPECT_NEAR(static_cast<double>(both[0] - first[0]), 500, 10);
}

TEST(MixtureSchedule, RampsGoFromShareToShare) {
  const MixtureSchedule schedule({{0, {1, 0}}, {1000, {1, 0}, {0.25, 0.75}}, {9000, {2, 6}}},
                                 {kEndless, kEndless});
  expect_counts(schedule, 2, 10'000);
  const auto share_of_second = [&](std::uint64_t begin, std::uint64_t end) {
    return static_cast<double>(schedule.turns(end)[1] - schedule.turns(begin)[1]) /
           static_cast<double>(end - begin);
  };
  EXPECT_EQ(share_of_second(0, 1000), 0.0);
  for (std::uint64_t at = 1000; at < 9000; at += 1000) {
    const double middle = 0.75 * (static_cast<double>(at) + 500 - 1000) / 8000;
    EXPECT_NEAR(share_of_second(at, at + 1000), middle, 0.01) << at;
  }
  EXPECT_NEAR(share_of_second(9000, 19'000), 0.75, 0.001);
}

TEST(MixtureSchedule, ASourceAtItsLimitLeavesItsTurnsToTheOthers) {
  const MixtureSchedule schedule({{0, {6, 3, 1}}}, {600, kEndless, kEndless});
  expect_counts(schedule, 3, 5000);
  const auto at_end = schedule.turns(5000);
  EXPECT_EQ(at_end[0], 600u);
  EXPECT_EQ(schedule.sequences(), kEndless);
  const auto limit = schedule.turns(1000);
  EXPECT_EQ(limit[0], 600u);
  EXPECT_NEAR(static_cast<double>(at_end[1] - limit[1]), 3000, 4);
}

TEST(MixtureSchedule, EndsWhereEverySourceHas) {
  const MixtureSchedule schedule({{0, {1, 1}}, {100, {1, 3}}}, {300, 200});
  EXPECT_EQ(schedule.sequences(), 500u);
  expect_counts(schedule, 2, 500);
  EXPECT_EQ(schedule.turns(500), (std::vector<std::uint64_t>{300, 200}));
}

TEST(MixtureSchedule, RefusesWhatIsNoMixture) {
  const std::vector<std::uint64_t> limits{kEndless, kEndless};
  EXPECT_THROW(MixtureSchedule({{0, {1, -1}}}, limits), InputError);
  EXPECT_THROW(MixtureSchedule({{0, {1, NAN}}}, limits), InputError);
  EXPECT_THROW(MixtureSchedule({{0, {0, 0}}}, limits), InputError);
  EXPECT_THROW(MixtureSchedule({{0, {1, 1}}}, {0, 0}), InputError);
}

}  // namespace
}  // namespace bessemer::data

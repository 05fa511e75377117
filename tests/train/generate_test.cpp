#include "train/generate.h"

#include <array>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

namespace bessemer::testing {
namespace {

using train::sample_token;
using train::SamplingOptions;

TEST(SampleToken, WithoutTemperatureTakesTheLikeliestAndTheLowestOfTies) {
  const std::vector<float> logits{0.5f, 3.0f, -1.0f, 3.0f};
  for (std::uint64_t draw = 0; draw < 10; ++draw) {
    EXPECT_EQ(sample_token(logits, {.temperature = 0}, draw), 1);
  }
}

// Of {0.5, 0.25, 0.125, 0.0625, 0.0625}, which indices may come and with which probability.
struct SamplingCase {
  const char* name;
  SamplingOptions options;
  std::array<double, 5> expected;
};

class Sampling : public ::testing::TestWithParam<SamplingCase> {};

TEST_P(Sampling, HasTheRightFrequencies) {
  constexpr int kDraws = 20000;
  const std::vector<float> logits{std::log(0.5f), std::log(0.25f), std::log(0.125f),
                                  std::log(0.0625f), std::log(0.0625f)};
  std::array<int, 5> counts{};
  for (int draw = 0; draw < kDraws; ++draw) {
    ++counts.at(static_cast<std::size_t>(
        sample_token(logits, GetParam().options, static_cast<std::uint64_t>(draw))));
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double p = GetParam().expected[i];
    const double deviation = std::sqrt(kDraws * p * (1 - p));
    EXPECT_NEAR(counts[i], kDraws * p, 4.5 * deviation) << "index " << i;
  }
}

// At temperature 2 the weights are the roots of the probabilities; at 0.5, their squares.
constexpr double kRoots = 0.70710678 + 0.5 + 0.35355339 + 0.25 + 0.25;
constexpr double kSquares = 0.25 + 0.0625 + 0.015625 + 2 * 0.00390625;

INSTANTIATE_TEST_SUITE_P(
    Options, Sampling,
    ::testing::Values(
        SamplingCase{"plain", {.temperature = 1}, {0.5, 0.25, 0.125, 0.0625, 0.0625}},
        SamplingCase{
            "another_seed", {.temperature = 1, .seed = 9}, {0.5, 0.25, 0.125, 0.0625, 0.0625}},
        SamplingCase{
            "hot",
            {.temperature = 2},
            {0.70710678 / kRoots, 0.5 / kRoots, 0.35355339 / kRoots, 0.25 / kRoots, 0.25 / kRoots}},
        SamplingCase{"cold",
                     {.temperature = 0.5},
                     {0.25 / kSquares, 0.0625 / kSquares, 0.015625 / kSquares,
                      0.00390625 / kSquares, 0.00390625 / kSquares}},
        SamplingCase{"top_2", {.temperature = 1, .top_k = 2}, {2.0 / 3, 1.0 / 3, 0, 0, 0}},
        SamplingCase{"top_1", {.temperature = 1, .top_k = 1}, {1, 0, 0, 0, 0}},
        SamplingCase{"top_more_than_there_are",
                     {.temperature = 1, .top_k = 50},
                     {0.5, 0.25, 0.125, 0.0625, 0.0625}},
        SamplingCase{"nucleus", {.temperature = 1, .top_p = 0.7}, {2.0 / 3, 1.0 / 3, 0, 0, 0}},
        SamplingCase{"nucleus_of_one", {.temperature = 1, .top_p = 0.3}, {1, 0, 0, 0, 0}},
        SamplingCase{"nucleus_of_the_three_likeliest",
                     {.temperature = 1, .top_k = 3, .top_p = 0.8},
                     {2.0 / 3, 1.0 / 3, 0, 0, 0}}),
    [](const auto& test) { return test.param.name; });

TEST(SampleToken, IsAFunctionOfSeedAndDraw) {
  const std::vector<float> logits(100, 0.0f);
  std::map<std::int32_t, int> seen;
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    const std::int32_t token = sample_token(logits, {.temperature = 1, .seed = 3}, draw);
    EXPECT_EQ(token, sample_token(logits, {.temperature = 1, .seed = 3}, draw));
    ++seen[token];
  }
  EXPECT_GT(seen.size(), 25u);
  int differ = 0;
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    differ += sample_token(logits, {.temperature = 1, .seed = 3}, draw) !=
              sample_token(logits, {.temperature = 1, .seed = 4}, draw);
  }
  EXPECT_GT(differ, 40);
}

TEST(SampleToken, NeverTakesWhatIsImpossible) {
  const std::vector<float> logits{-INFINITY, 0.0f, -INFINITY, 0.0f};
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    const std::int32_t token = sample_token(logits, {.temperature = 1}, draw);
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

}  // namespace
}  // namespace bessemer::testing

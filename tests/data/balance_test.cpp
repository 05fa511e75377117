#include "data/balance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace bessemer::data {
namespace {

constexpr Balance kMethods[] = {Balance::round_robin, Balance::greedy, Balance::karmarkar_karp};

double uniform(const CounterRng& rng, std::uint64_t i) {
  return (static_cast<double>(rng.word(i)) + 0.5) / 4294967296.0;
}

// Sequences of `length` tokens packed from documents whose lengths have a long tail (Pareto).
std::vector<double> long_tailed_costs(std::int64_t count, std::int64_t length, std::uint64_t seed) {
  const CounterRng rng(seed, 0, 0);
  std::uint64_t draw = 0;
  const SequenceCost cost{0, 1};
  std::vector<double> costs;
  for (std::int64_t i = 0; i < count; ++i) {
    std::vector<std::int64_t> parts;
    for (std::int64_t left = length; left > 0; left -= parts.back()) {
      const double document = 200 / std::pow(uniform(rng, draw++), 1 / 0.9);
      parts.push_back(std::min(left, static_cast<std::int64_t>(std::min(document, 1e9))));
    }
    costs.push_back(cost(parts));
  }
  return costs;
}

TEST(SequenceCost, CountsTokensAndCausalPairsOfEachPart) {
  const SequenceCost cost{2, 3};
  EXPECT_EQ(cost(std::vector<std::int64_t>{4}), 2 * 4 + 3 * 10);
  EXPECT_EQ(cost(std::vector<std::int64_t>{1, 3}), 2 * 4 + 3 * (1 + 6));
}

TEST(Balance, EverySequenceHasOnePlace) {
  const CounterRng rng(7, 0, 0);
  for (std::uint64_t trial = 0; trial < 60; ++trial) {
    const BatchShape shape{1 + rng.word(3 * trial) % 9, 1 + rng.word(3 * trial + 1) % 4,
                           1 + rng.word(3 * trial + 2) % 5};
    const std::vector<double> costs = long_tailed_costs(shape.sequences(), 512, trial);
    for (const Balance method : kMethods) {
      std::vector<std::uint32_t> order = balance(costs, shape, method);
      EXPECT_LE(1.0, imbalance(costs, order, shape) + 1e-12);
      std::sort(order.begin(), order.end());
      std::vector<std::uint32_t> all(costs.size());
      std::iota(all.begin(), all.end(), 0u);
      EXPECT_EQ(order, all);
    }
  }
}

TEST(Balance, RoundRobinKeepsTheOrder) {
  const BatchShape shape{2, 2, 2};
  EXPECT_EQ(balance(std::vector<double>{8, 7, 6, 5, 4, 3, 2, 1}, shape, Balance::round_robin),
            (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Balance, FindsTheBestSplit) {
  const BatchShape shape{2, 1, 3};
  const std::vector<double> costs{9, 8, 7, 3, 2, 1};  // 9 + 3 + 2 and 8 + 7 + 1
  for (const Balance method : {Balance::greedy, Balance::karmarkar_karp}) {
    EXPECT_DOUBLE_EQ(imbalance(costs, balance(costs, shape, method), shape), 16.0 / 15);
  }
}

TEST(Balance, SixtyFourRanksOfALongTailedCorpus) {
  for (const std::int64_t length : {4096, 8192, 16384}) {
    const BatchShape shape{64, 4, 4};
    double worst_karp = 0, worst_greedy = 0, robin = 0;
    constexpr int kBatches = 8;
    for (int batch = 0; batch < kBatches; ++batch) {
      const std::vector<double> costs =
          long_tailed_costs(shape.sequences(), length, 100 + static_cast<std::uint64_t>(batch));
      const auto of = [&](Balance method) {
        return imbalance(costs, balance(costs, shape, method), shape);
      };
      robin += of(Balance::round_robin) / kBatches;
      worst_greedy = std::max(worst_greedy, of(Balance::greedy));
      worst_karp = std::max(worst_karp, of(Balance::karmarkar_karp));
    }
    EXPECT_GE(robin, 1.3) << length;
    EXPECT_LE(worst_karp, 1.05) << length;
    EXPECT_LE(worst_greedy, 1.05) << length;
  }
}

// Micro-batches that run at the same time on all ranks are alike.
TEST(Balance, MicroBatchesOfAllRanksAreAlike) {
  const BatchShape shape{16, 4, 8};
  const std::vector<double> costs = long_tailed_costs(shape.sequences(), 8192, 5);
  const auto spread = [&](Balance method) {
    const std::vector<std::uint32_t> order = balance(costs, shape, method);
    double worst = 0;
    for (std::int64_t m = 0; m < shape.micro_batches; ++m) {
      double most = 0, all = 0;
      for (std::int64_t r = 0; r < shape.ranks; ++r) {
        double cost = 0;
        for (std::int64_t b = 0; b < shape.micro_batch_size; ++b) {
          cost += costs[order[static_cast<std::size_t>(shape.place(r, m, b))]];
        }
        most = std::max(most, cost);
        all += cost;
      }
      worst = std::max(worst, most * static_cast<double>(shape.ranks) / all);
    }
    return worst;
  };
  EXPECT_LT(spread(Balance::karmarkar_karp), 1.1);
  EXPECT_GT(spread(Balance::round_robin), 1.15);
}

}  // namespace
}  // namespace bessemer::data

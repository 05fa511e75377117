#include <set>

#include <gtest/gtest.h>

#include "kernels/dropout_mask.h"
#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

Tensor counter(double seed, double step, double micro_batch) {
  return of({DType::int64, {3}}, {seed, step, micro_batch});
}

Tensor drop(const Tensor& x, const Tensor& at, double probability, std::int64_t site = 5,
            const std::vector<std::pair<int, int>>& share = {}) {
  const Attributes attributes = {{"probability", probability}, {"site", site}};
  return run_kernel(reference::dropout, {x, at}, {x.type()}, attributes, 0, share).results[0];
}

Tensor ones(std::int64_t n) {
  Tensor x(fp64({n}));
  for (std::int64_t i = 0; i < n; ++i) x.set(i, 1);
  return x;
}

TEST(DropoutMask, ThresholdIsTheProbabilityOfAWord) {
  EXPECT_EQ(threshold(0.0), 0u);
  EXPECT_EQ(threshold(0.5), 0x80000000u);
  EXPECT_EQ(threshold(0.25), 0x40000000u);
  EXPECT_EQ(threshold(std::nextafter(1.0, 0.0)), 0xFFFFFFFFu);
  EXPECT_THROW(threshold(1.0), Error);
  EXPECT_THROW(threshold(-0.1), Error);
  EXPECT_THROW(threshold(NAN), Error);
}

TEST(DropoutMask, FoldTellsStepsAndMicroBatchesApart) {
  std::set<std::uint32_t> seen;
  for (int step = 0; step < 1000; ++step) {
    for (int micro_batch = 0; micro_batch < 100; ++micro_batch) {
      seen.insert(fold(step, micro_batch));
    }
  }
  EXPECT_GE(seen.size(), 100000u - 8);  // 1.2 coincidences are expected
}

TEST(DropoutMask, ABlockHoldsFourConsecutiveIndices) {
  const std::int64_t at[3] = {1, 2, 3};
  const DropoutMask mask(at, 4, 0.3);
  for (std::uint64_t i = 0; i < 400; ++i) {
    EXPECT_EQ(mask.keep(i), mask.rng().block(i / 4)[i % 4] >= mask.drop_below());
  }
}

TEST(DropoutMask, AttentionIndicesAreRowMajor) {
  std::uint64_t expected = 0;
  for (int b = 0; b < 2; ++b) {
    for (int h = 0; h < 3; ++h) {
      for (int t = 0; t < 4; ++t) {
        for (int s = 0; s < 5; ++s) {
          EXPECT_EQ(attention_dropout_index(b, h, t, s, 3, 4, 5), expected++);
        }
      }
    }
  }
}

TEST(ReferenceDropout, DropsTheStatedShareAndScalesTheRest) {
  const std::int64_t n = 100000;
  for (const double p : {0.05, 0.5, 0.9}) {
    const Tensor y = drop(ones(n), counter(1, 2, 3), p);
    double dropped = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      if (y.get(i) == 0) {
        ++dropped;
      } else {
        ASSERT_EQ(y.get(i), 1 / (1 - p));
      }
    }
    const double z = (dropped - n * p) / std::sqrt(n * p * (1 - p));
    EXPECT_LT(std::abs(z), 4) << p;
  }
}

TEST(ReferenceDropout, NeighboursAreIndependent) {
  const std::int64_t n = 100000;
  const Tensor y = drop(ones(n), counter(1, 2, 3), 0.5);
  for (const std::int64_t lag : {1, 2, 3, 4, 64}) {
    double both = 0;
    for (std::int64_t i = 0; i + lag < n; ++i) both += y.get(i) == 0 && y.get(i + lag) == 0;
    const auto pairs = static_cast<double>(n - lag);
    EXPECT_LT(std::abs(both - pairs / 4) / std::sqrt(pairs * 3 / 16), 5) << lag;
  }
}

TEST(ReferenceDropout, TheMaskFollowsFromCounterAndSiteOnly) {
  const Tensor x = ones(1000);
  const Tensor y = drop(x, counter(1, 2, 3), 0.5);
  EXPECT_TRUE(same_bits(y, drop(x, counter(1, 2, 3), 0.5)));
  EXPECT_FALSE(same_bits(y, drop(x, counter(9, 2, 3), 0.5)));
  EXPECT_FALSE(same_bits(y, drop(x, counter(1, 9, 3), 0.5)));
  EXPECT_FALSE(same_bits(y, drop(x, counter(1, 2, 9), 0.5)));
  EXPECT_FALSE(same_bits(y, drop(x, counter(1, 2, 3), 0.5, 9)));
}

TEST(ReferenceDropout, AllBitsOfTheSeedCount) {
  Tensor a = counter(0, 0, 0), b = counter(0, 0, 0);
  a.as<std::int64_t>()[0] = (std::int64_t{1} << 62) + 1;  // the same as doubles
  b.as<std::int64_t>()[0] = (std::int64_t{1} << 62);
  EXPECT_FALSE(same_bits(drop(ones(1000), a, 0.5), drop(ones(1000), b, 0.5)));
}

TEST(ReferenceDropout, IsItsOwnGradientAndWorksInPlace) {
  const Tensor x = normal(fp64({40}), 1), dy = normal(fp64({40}), 2);
  const Tensor at = counter(1, 2, 3);
  const Forward forward{
      reference::dropout, {x, at}, {x.type()}, {{"probability", 0.3}, {"site", std::int64_t{5}}}};
  EXPECT_LT(relative_difference(drop(dy, at, 0.3), numeric_gradient(forward, 0, dy)),
            kGradientTolerance);
  EXPECT_TRUE(same_bits(drop(x, at, 0.3), drop(x, at, 0.3, 5, {{0, 0}})));
  EXPECT_TRUE(same_bits(drop(x, at, 0.0), x));
}

}  // namespace
}  // namespace bessemer::kernels

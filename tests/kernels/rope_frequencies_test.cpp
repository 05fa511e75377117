#include "kernels/rope_frequencies.h"

#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace bessemer::kernels {
namespace {

struct Golden {
  const char* name;
  Attributes attributes;
  std::vector<double> inverse;
  double attention_factor;
};

// ROPE_INIT_FUNCTIONS of transformers 5.23.0, head_dim 16. They are computed in fp32 there.
const std::vector<Golden>& goldens() {
  static const std::vector<Golden> table = {
      {"linear",
       {{"scaling", "linear"}, {"factor", 4.0}},
       {0.25, 0.079056941, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466,
        0.000250000012, 7.90569466e-05},
       1.0},
      {"llama 3.1",
       {{"theta", 500000.0},
        {"scaling", "llama3"},
        {"factor", 8.0},
        {"low_frequency_factor", 1.0},
        {"high_frequency_factor", 4.0},
        {"original_context", std::int64_t{8192}}},
       {1.0, 0.193922758, 0.0376060307, 0.00729266508, 0.000524846022, 3.42810235e-05,
        6.64786967e-06, 1.28917316e-06},
       1.0},
      {"llama3, short context",
       {{"scaling", "llama3"},
        {"factor", 32.0},
        {"low_frequency_factor", 1.0},
        {"high_frequency_factor", 4.0},
        {"original_context", std::int64_t{256}}},
       {1.0, 0.316227764, 0.100000001, 0.0039334991, 0.000312499993, 9.88211832e-05, 3.12500015e-05,
        9.88211832e-06},
       1.0},
      {"yarn, defaults",
       {{"scaling", "yarn"}, {"factor", 4.0}, {"original_context", std::int64_t{2048}}},
       {1.0, 0.316227764, 0.100000001, 0.025693506, 0.00624999963, 0.00138349656, 0.000250000012,
        7.90569466e-05},
       1.138629436111989},
      {"yarn, all given",
       {{"theta", 1e6},
        {"scaling", "yarn"},
        {"factor", 16.0},
        {"original_context", std::int64_t{512}},
        {"beta_fast", 16.0},
        {"beta_slow", 2.0},
        {"attention_factor", 1.5}},
       {1.0, 0.122256704, 0.0118585415, 0.000351463328, 6.2500003e-05, 1.11142463e-05,
        1.97642339e-06, 3.51463342e-07},
       1.5},
      {"yarn, a ramp of one pair",
       {{"scaling", "yarn"}, {"factor", 4.0}, {"original_context", std::int64_t{8}}},
       {1.0, 0.079056941, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466,
        0.000250000012, 7.90569466e-05},
       1.138629436111989},
  };
  return table;
}

TEST(RopeFrequencies, AgreeWithTransformers) {
  for (const Golden& golden : goldens()) {
    const RopeFrequencies frequencies = rope_frequencies(16, golden.attributes);
    ASSERT_EQ(frequencies.inverse.size(), golden.inverse.size());
    for (std::size_t i = 0; i < golden.inverse.size(); ++i) {
      EXPECT_NEAR(frequencies.inverse[i] / golden.inverse[i], 1.0, 1e-6)
          << golden.name << " pair " << i;
    }
    EXPECT_NEAR(frequencies.attention_factor, golden.attention_factor, 1e-14) << golden.name;
  }
}

TEST(RopeFrequencies, UnscaledIsThePowerOfTheta) {
  const RopeFrequencies frequencies = rope_frequencies(4, {{"theta", 100.0}});
  EXPECT_EQ(frequencies.inverse[0], 1.0);
  EXPECT_NEAR(frequencies.inverse[1], 0.1, 1e-15);
  EXPECT_EQ(frequencies.attention_factor, 1.0);
}

TEST(RopeFrequencies, RefusesWhatIsOutOfRange) {
  EXPECT_THROW(rope_frequencies(5, {}), InputError);
  EXPECT_THROW(rope_frequencies(0, {}), InputError);
  EXPECT_THROW(rope_frequencies(8, {{"theta", -1.0}}), InputError);
  EXPECT_THROW(rope_frequencies(8, {{"scaling", "dynamic"}}), InputError);
  EXPECT_THROW(rope_frequencies(8, {{"scaling", "linear"}}), InputError);
  EXPECT_THROW(rope_frequencies(8, {{"scaling", "linear"}, {"factor", 0.0}}), InputError);
  EXPECT_THROW(rope_frequencies(8, {{"scaling", "llama3"},
                                    {"factor", 8.0},
                                    {"low_frequency_factor", 4.0},
                                    {"high_frequency_factor", 1.0},
                                    {"original_context", 8192.0}}),
               InputError);
}

}  // namespace
}  // namespace bessemer::kernels

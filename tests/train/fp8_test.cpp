// Whole runs whose linear layers multiply in 8 bits: they learn as bf16 does, and memory changes no
// bit of them.
#include <cmath>

#include <gtest/gtest.h>

#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::RunEnd;

struct Fp8Case {
  const char* architecture;
  const char* scaling;
};

class Fp8Run : public ::testing::TestWithParam<Fp8Case> {
 protected:
  // All sizes of layers are multiples of 128: two sequences of 64 tokens a micro-batch.
  std::vector<double> numbers_of(const std::string& name, int steps,
                                 std::vector<std::string> more = {}) const {
    more.insert(
        more.begin(),
        {"data.sequence_length=64", "model.hidden=128", "model.ffn=256", "model.kv_heads=2",
         "model.dropout=0", "checkpoint.every=0", "optimizer.learning_rate=5e-4",
         "optimizer.warmup_steps=2", std::string("model.architecture=") + GetParam().architecture,
         "precision.recipe=fp8", std::string("precision.fp8_scaling=") + GetParam().scaling});
    EXPECT_EQ(train::train(place_.config(name, steps, more), {}), RunEnd::done);
    std::vector<double> numbers;
    for (const auto& object : metrics_of(place_.run(name))) {
      numbers.insert(numbers.end(), {object.at("loss"), object.at("grad_norm")});
    }
    return numbers;
  }

  RunPlace place_;
};

TEST_P(Fp8Run, LearnsAsBf16Does) {
  constexpr int kSteps = 50;
  const auto fp8 = numbers_of("fp8", kSteps);
  const auto bf16 = numbers_of("bf16", kSteps, {"precision.recipe=bf16"});
  ASSERT_EQ(fp8.size(), 2u * kSteps);
  EXPECT_LT(bf16[2 * kSteps - 2], 0.75 * bf16[0]) << "the task is one that 50 steps show";
  EXPECT_NE(fp8[1], bf16[1]) << "8 bits must show";
  for (std::size_t i = 0; i < fp8.size(); i += 2) {
    EXPECT_NEAR(fp8[i], bf16[i], 0.015 * bf16[i]) << "loss of step " << i / 2 + 1;
  }
}

TEST_P(Fp8Run, HasTheSameBitsHoweverItIsKept) {
  const auto expected = numbers_of("kept", 3, {"memory.recompute=none"});
  EXPECT_EQ(numbers_of("selective", 3, {"memory.recompute=selective"}), expected);
  EXPECT_EQ(numbers_of("full", 3, {"memory.recompute=full"}), expected);
  EXPECT_EQ(numbers_of("moved", 3,
                       {"memory.recompute=none",
                        "memory.offload=optimizer,gradients,parameters,activations"}),
            expected);
}

INSTANTIATE_TEST_SUITE_P(Models, Fp8Run,
                         ::testing::Values(Fp8Case{"gpt2", "current"}, Fp8Case{"gpt2", "block"},
                                           Fp8Case{"llama", "current"}, Fp8Case{"llama", "block"}),
                         [](const auto& test) {
                           return std::string(test.param.architecture) + "_" + test.param.scaling;
                         });

}  // namespace
}  // namespace bessemer::testing

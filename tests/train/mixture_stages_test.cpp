#include "train/mixture_stages.h"

#include <gtest/gtest.h>

namespace bessemer::train {
namespace {

config::DataSource source(double weight, std::vector<config::WeightChange> changes = {}) {
  config::DataSource made;
  made.weight = weight;
  made.weight_changes = std::move(changes);
  return made;
}

TEST(MixtureStages, OneWhereNothingChanges) {
  const auto stages = mixture_stages({source(3), source(1)}, 8);
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0].first, 0u);
  EXPECT_EQ(stages[0].weights, (std::vector<double>{3, 1}));
  EXPECT_TRUE(stages[0].to.empty());
}

// Steps count from 1: the change at step 11 is for the sequences behind 10 steps.
TEST(MixtureStages, AChangeIsAStage) {
  const auto stages = mixture_stages({source(3, {{11, 11, 0}}), source(1)}, 8);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_TRUE(stages[0].to.empty());
  EXPECT_EQ(stages[1].first, 80u);
  EXPECT_EQ(stages[1].weights, (std::vector<double>{0, 1}));
}

// The first source falls over steps 11 to 31 while the second jumps at 21.
TEST(MixtureStages, RampsMeetJumps) {
  const auto stages = mixture_stages({source(4, {{11, 31, 2}}), source(1, {{21, 21, 5}})}, 1);
  ASSERT_EQ(stages.size(), 4u);
  EXPECT_EQ(stages[1].first, 10u);
  EXPECT_EQ(stages[1].weights, (std::vector<double>{4, 1}));
  EXPECT_EQ(stages[1].to, (std::vector<double>{3, 1}));
  EXPECT_EQ(stages[2].first, 20u);
  EXPECT_EQ(stages[2].weights, (std::vector<double>{3, 5}));
  EXPECT_EQ(stages[2].to, (std::vector<double>{2, 5}));
  EXPECT_EQ(stages[3].first, 30u);
  EXPECT_EQ(stages[3].weights, (std::vector<double>{2, 5}));
  EXPECT_TRUE(stages[3].to.empty());
}

}  // namespace
}  // namespace bessemer::train

#include "train/schedule.h"

#include <gtest/gtest.h>

#include "train/metrics.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using config::Schedule;

struct ScheduleCase {
  const char* name;
  Schedule schedule;
  std::int64_t warmup, decay;
  std::vector<std::pair<std::int64_t, double>> expected;  // of 100 steps, peak 1, end 0.1
};

class Schedules : public ::testing::TestWithParam<ScheduleCase> {};

TEST_P(Schedules, HaveTheseValues) {
  const ScheduleCase& c = GetParam();
  config::OptimizerConfig config;
  config.learning_rate = 1;
  config.min_learning_rate = 0.1;
  config.schedule = c.schedule;
  config.warmup_steps = c.warmup;
  config.decay_steps = c.decay;
  for (const auto& [step, rate] : c.expected) {
    EXPECT_NEAR(train::learning_rate(config, step, 100), rate, 1e-12) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Schedules,
    ::testing::Values(
        ScheduleCase{"constant",
                     Schedule::constant,
                     10,
                     0,
                     {{1, 0.1}, {5, 0.5}, {10, 1}, {11, 1}, {100, 1}}},
        ScheduleCase{"linear",
                     Schedule::linear,
                     20,
                     80,
                     {{1, 0.05}, {20, 1}, {40, 0.775}, {60, 0.55}, {100, 0.1}, {101, 0.1}}},
        ScheduleCase{"cosine",
                     Schedule::cosine,
                     20,
                     80,
                     {{20, 1}, {40, 0.1 + 0.9 * 0.85355339059327373}, {60, 0.55}, {100, 0.1}}},
        ScheduleCase{"warmup_stable_decay",
                     Schedule::wsd,
                     10,
                     20,
                     {{10, 1}, {50, 1}, {80, 1}, {90, 0.55}, {100, 0.1}}},
        ScheduleCase{"no_warmup", Schedule::linear, 0, 100, {{1, 0.991}, {100, 0.1}}},
        ScheduleCase{"no_decay", Schedule::cosine, 0, 0, {{1, 1}, {100, 1}}}),
    [](const auto& test) { return test.param.name; });

train::StepMetrics step_metrics(std::int64_t step) {
  train::StepMetrics m;
  m.step = step;
  m.tokens = 64 * step;
  m.loss = 0.1 * static_cast<double>(step);
  return m;
}

class MetricsTest : public ::testing::Test {
 protected:
  std::vector<int> steps() const {
    std::vector<int> all;
    for (const auto& object : metrics_of(place_.path())) all.push_back(object.at("step"));
    return all;
  }
  RunPlace place_;
  const fs::path path_ = place_.path() / "metrics.jsonl";
};

TEST_F(MetricsTest, AResumedRunKeepsStepsUpToItsCheckpoint) {
  {
    train::MetricsFile file(path_, 0);
    for (int step = 1; step <= 5; ++step) file.write(step_metrics(step));
  }
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4, 5}));
  {
    train::MetricsFile file(path_, 3);
    EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3}));
    file.write(step_metrics(4));
  }
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4}));
  { const train::MetricsFile file(path_, 0); }
  EXPECT_EQ(fs::file_size(path_), 0u);
}

TEST_F(MetricsTest, ALineThatWasNeverFinishedIsDropped) {
  for (const char* broken :
       {"{\"step\":3", "{\"step\":3}", "not json\n", "{\"step\":\"3\"}\n", "[3]\n", "\n"}) {
    std::ofstream(path_) << "{\"step\":1}\n{\"step\":2}\n" << broken;
    { const train::MetricsFile file(path_, 10); }
    EXPECT_EQ(steps(), (std::vector<int>{1, 2})) << broken;
  }
}

TEST_F(MetricsTest, NumbersJsonCannotHoldAreNull) {
  train::MetricsFile file(path_, 0);
  train::StepMetrics m = step_metrics(1);
  m.loss = std::numeric_limits<double>::quiet_NaN();
  m.gradient_norm = std::numeric_limits<double>::infinity();
  m.learning_rate = 0.1;
  m.skipped = true;
  file.write(m);
  const nlohmann::json object = metrics_of(place_.path()).at(0);
  EXPECT_TRUE(object.at("loss").is_null());
  EXPECT_TRUE(object.at("grad_norm").is_null());
  EXPECT_EQ(object.at("learning_rate").get<double>(), 0.1);  // every bit of it
  EXPECT_EQ(object.at("skipped"), true);
  EXPECT_EQ(object.at("tokens"), 64);
  for (const char* key : {"step", "step_seconds", "tokens_per_second", "mfu", "data_wait_seconds",
                          "peak_bytes_predicted", "peak_bytes_measured"}) {
    EXPECT_TRUE(object.contains(key)) << key;
  }
}

TEST_F(MetricsTest, AFileThatCannotBeOpenedIsNamed) {
  const std::string message = message_of<InputError>(
      [&] { const train::MetricsFile file(place_.path() / "no" / "metrics.jsonl", 0); });
  EXPECT_NE(message.find("no/metrics.jsonl: cannot open"), std::string::npos) << message;
}

TEST(DurationText, HasMinutesAndHours) {
  const std::pair<double, const char*> cases[] = {{0, "0:00"},         {59.4, "0:59"},
                                                  {59.6, "1:00"},      {600, "10:00"},
                                                  {3599.6, "1:00:00"}, {7325, "2:02:05"}};
  for (const auto& [seconds, text] : cases) EXPECT_EQ(train::duration_text(seconds), text);
}

}  // namespace
}  // namespace bessemer::testing

#include "train/build_meter.h"

#include <gtest/gtest.h>

namespace bessemer::train {
namespace {

TEST(BuildMeter, TellsShareRateAndTimeLeft) {
  const struct {
    data::BuildProgress progress;
    double seconds;
    const char* line;
  } cases[] = {
      {{"tokenize", "wiki", 25'000'000, 100'000'000, 0},
       5,
       "tokenize wiki  25%  5.0 MB/s  15 s left"},
      // Half was there: what this call did, 10 MB in 5 s, is the rate.
      {{"tokenize", "wiki", 60'000'000, 100'000'000, 50'000'000},
       5,
       "tokenize wiki  60%  2.0 MB/s  20 s left"},
      {{"tokenize", "wiki", 50, 100, 50}, 5, "tokenize wiki  50%"},
      {{"tokenize", "wiki", 1, 1001, 0}, 4, "tokenize wiki   0%  0.0 MB/s  1 h 6 min left"},
      {{"learn tokens", "", 100, 400, 0}, 40, "learn tokens   25%  2 min 0 s left"},
  };
  for (const auto& c : cases) EXPECT_EQ(BuildMeter::line(c.progress, c.seconds), c.line);
}

}  // namespace
}  // namespace bessemer::train

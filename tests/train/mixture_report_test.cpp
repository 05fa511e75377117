#include "train/mixture_report.h"

#include <gtest/gtest.h>

#include "train/mixture_stages.h"

namespace bessemer::train {
namespace {

constexpr std::int64_t kStep = 8;

config::RunConfig run_of(std::vector<config::DataSource> sources) {
  config::RunConfig config;
  config.train.global_batch_size = kStep;
  for (std::size_t s = 0; s < sources.size(); ++s) sources[s].name = std::string(1, "abc"[s]);
  config.data.sources = std::move(sources);
  return config;
}

config::DataSource source(double weight, std::vector<config::WeightChange> changes = {}) {
  config::DataSource made;
  made.weight = weight;
  made.weight_changes = std::move(changes);
  return made;
}

data::MixtureSchedule schedule_of(const config::RunConfig& config) {
  const std::vector<std::uint64_t> endless(config.data.sources.size(),
                                           data::MixtureSchedule::kEndless);
  return {mixture_stages(config.data.sources, kStep), endless};
}

TEST(MixtureReport, SharesAreTheAskedOnesOverJumpsAndRamps) {
  const std::vector<config::RunConfig> runs{
      run_of({source(0.7), source(0.2), source(0.1)}),
      run_of({source(3, {{500, 500, 1}}), source(1)}),
      run_of({source(4, {{100, 1100, 0}}), source(1), source(0, {{700, 900, 2}})}),
  };
  for (const config::RunConfig& run : runs) {
    for (const std::uint64_t sequences : {10'000, 12'345}) {
      double sum = 0;
      for (const SourceShare& s : mixture_shares(run, schedule_of(run), sequences)) {
        EXPECT_NEAR(s.share, s.asked, 1e-3) << s.name;
        sum += s.asked;
      }
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  }
}

// A ramp over all of the 1000 sequences, by hand: the share of a falls from 1/2 to 0 linearly where
// the sum of the weights stays 2, so a quarter of them is its.
TEST(MixtureReport, ARampIsItsMean) {
  const config::RunConfig run = run_of({source(1, {{1, 126, 0}}), source(1, {{1, 126, 2}})});
  const auto shares = mixture_shares(run, schedule_of(run), 1000);
  EXPECT_NEAR(shares[0].asked, 0.25, 1e-6);
  EXPECT_NEAR(shares[1].asked, 0.75, 1e-6);
  EXPECT_EQ(mixture_text(shares).find("a 25."), 0u) << mixture_text(shares);
}

TEST(MixtureReport, NothingReadIsNoError) {
  const config::RunConfig run = run_of({source(1)});
  const auto shares = mixture_shares(run, schedule_of(run), 0);
  EXPECT_EQ(shares[0].sequences, 0u);
  EXPECT_EQ(shares[0].share, 0);
}

}  // namespace
}  // namespace bessemer::train

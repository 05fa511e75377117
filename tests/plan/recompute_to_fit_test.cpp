// The search for what to recompute, against a look at every subset.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "cost/node_seconds.h"
#include "ir/text.h"
#include "ops/op.h"
#include "passes/pipeline.h"
#include "passes/recompute.h"
#include "passes/recompute_cut.h"
#include "plan/plan.h"
#include "plan/recompute_to_fit.h"
#include "support/model_inputs.h"
#include "support/training_graph.h"

namespace bessemer::plan {
namespace {

using bessemer::testing::random_training_graph;
using passes::Kept;
using passes::RecomputePoint;
using passes::Stash;

// Slow where this machine is fast, so that times are far apart; and no constant per instruction.
cost::MachineDescription toy_machine() {
  cost::MachineDescription machine = cost::describe_here();
  machine.matmul_flops_fp32 = 1e6;
  machine.copy_bandwidth = 1e6;
  machine.instruction_overhead = 0;
  return machine;
}

struct Measured {
  std::size_t peak = 0;
  double seconds = 0;  // of the whole program
};

// By the plan alone: what the rewritten graph needs and takes.
Measured measure(const ir::Graph& graph) {
  const Plan plan = make_plan({&graph}, toy_machine());
  return {plan.programs[0].transient_bytes, plan.programs[0].predicted_seconds()};
}

template <typename Visit>
void for_each_subset(const ir::Graph& graph, const Visit& visit) {
  const Stash stash(graph);
  const auto& candidates = stash.candidates();
  for (std::size_t subset = 0; subset < std::size_t{1} << candidates.size(); ++subset) {
    Kept kept = stash.everything();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      kept[static_cast<std::size_t>(candidates[i])] = (subset >> i & 1) == 0;
    }
    visit(kept);
  }
}

double least_seconds_within(const std::vector<Measured>& all, std::size_t budget) {
  double least = INFINITY;
  for (const Measured& m : all) {
    if (m.peak <= budget) least = std::min(least, m.seconds);
  }
  return least;
}

std::vector<std::size_t> distinct_peaks(const std::vector<Measured>& all) {
  std::vector<std::size_t> peaks;
  for (const Measured& m : all) peaks.push_back(m.peak);
  std::sort(peaks.begin(), peaks.end());
  peaks.erase(std::unique(peaks.begin(), peaks.end()), peaks.end());
  return peaks;
}

TEST(RecomputeFrontier, AgreesWithAllSubsetsOnSmallGraphs) {
  constexpr double kRounding = 1 + 1e-9;
  int graphs = 0;
  for (std::uint64_t seed = 0; graphs < 12; ++seed) {
    const ir::Graph graph = random_training_graph(seed, 5 + static_cast<int>(seed % 8));
    const std::size_t values = Stash(graph).candidates().size();
    if (values < 5 || values > 8) continue;
    const auto frontier = recompute_frontier(graph, toy_machine());
    if (frontier.size() < 4) continue;  // little to choose
    ++graphs;
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, ir::print(graph)));
    std::vector<Measured> all;
    for_each_subset(
        graph, [&](const Kept& kept) { all.push_back(measure(passes::recompute(graph, kept))); });
    const double none = all.front().seconds;
    for (const std::size_t budget : distinct_peaks(all)) {
      const RecomputePoint& point = passes::cheapest_within(frontier, budget);
      const double least = least_seconds_within(all, budget);
      EXPECT_LE(point.peak_bytes, budget);
      EXPECT_LE(none + point.added_seconds, least * kRounding) << "budget " << budget;
      EXPECT_GE((none + point.added_seconds) * kRounding, least) << "budget " << budget;
    }
  }
}

TEST(RecomputeCut, IsTheBestOfAllSubsetsAtEveryPrice) {
  int graphs = 0, mixed = 0;
  for (std::uint64_t seed = 0; graphs < 60; ++seed) {
    const ir::Graph graph = random_training_graph(seed, 4 + static_cast<int>(seed % 8));
    const Stash stash(graph);
    if (stash.candidates().size() < 3 || stash.candidates().size() > 9) continue;
    ++graphs;
    const std::vector<double> seconds = cost::node_seconds(graph, toy_machine());
    const passes::Stretch whole{0, stash.turn(), ir::kAbsent};
    const auto cost_of = [&](const Kept& kept, double price) {
      const Stash::Demand demand = stash.demand(kept);
      auto cost = static_cast<double>(stash.bytes(demand));
      for (const int node : demand.recomputed) {
        cost += price * seconds[static_cast<std::size_t>(node)];
      }
      return cost;
    };
    for (const double price : {0.0, 1e4, 1e5, 3e5, 1e6, 1e7, 1e9}) {
      double least = INFINITY;
      for_each_subset(graph,
                      [&](const Kept& kept) { least = std::min(least, cost_of(kept, price)); });
      const passes::CutOption cut = passes::cheapest_cut(graph, stash, whole, seconds, 1, price);
      EXPECT_NEAR(cut.bytes + price * cut.seconds, least, 1e-9 * least) << seed << ' ' << price;
      Kept kept(graph.values().size(), false);
      for (const ir::ValueId v : cut.kept) kept[static_cast<std::size_t>(v)] = true;
      EXPECT_NEAR(cost_of(kept, price), least, 1e-9 * least) << seed << ' ' << price;
      mixed += cut.bytes > 0 && cut.seconds > 0 ? 1 : 0;
    }
    const auto frontier = passes::cut_frontier(graph, stash, whole, seconds);
    EXPECT_EQ(frontier.front().seconds, 0);
    for (std::size_t i = 1; i < frontier.size(); ++i) {
      EXPECT_LT(frontier[i].bytes, frontier[i - 1].bytes);
      EXPECT_GT(frontier[i].seconds, frontier[i - 1].seconds);
    }
  }
  EXPECT_GT(mixed, 10);  // neither everything kept nor nothing
}

// What a stretch asks of the waist it starts from costs bytes where backward has that in 8 bits:
// here 512 bytes of %e instead of 132 for its 8 bits and 528 for those of %m.
TEST(RecomputeCut, CountsTheExactEntryOfAStretch) {
  const ir::Graph graph = passes::compress_stash(ir::parse(R"(graph entry
data %x: fp32[4,32] "x"
data %scale: fp32[] "loss_scale"
parameter %w0: fp32[32,32] "w0"
parameter %w1: fp32[32,128] "w1"
parameter %w2: fp32[128,8] "w2"
%e: fp32[4,32] = matmul(%x, %w0)   # a
%m: fp32[4,128] = matmul(%e, %w1)   # b
%s: fp32[4,128] = silu(%m)   # b
%n: fp32[4,8] = matmul(%s, %w2)   # b
%loss: fp32[] = reduce_sum(%n) {dims=[0,1]}   # b
%dn: fp32[4,8] = broadcast(%scale) {dims=[0,1], shape=[4,8]}   # b
%ds: fp32[4,128] = matmul(%dn, %w2) {transpose_b=true}   # b
%dm: fp32[4,128] = silu_grad(%ds, %m)   # b
%dw: fp32[32,128] = matmul(%e, %dm) {transpose_a=true}   # b
return "loss" %loss
return "dw" %dw
)"));
  const Stash stash(graph);
  const std::vector<double> seconds = cost::node_seconds(graph, toy_machine());
  const ir::ValueId entry = stash.waists().front();
  ASSERT_EQ(graph.value(entry).name, "e");
  const passes::Stretch stretch{stash.made_by(entry) + 1, stash.turn(), ir::kAbsent, entry};
  const auto cut = [&](double second_price) {
    return passes::cheapest_cut(graph, stash, stretch, seconds, 1, second_price);
  };
  EXPECT_EQ(cut(0).bytes, 512);
  EXPECT_GT(cut(0).seconds, 0);
  EXPECT_TRUE(cut(0).kept.empty());
  EXPECT_EQ(cut(1e9).bytes, 132 + 528);
  EXPECT_EQ(cut(1e9).seconds, 0);
  EXPECT_EQ(cut(1e9).kept.size(), 2u);
  Kept kept = stash.everything();
  for (const ir::ValueId v : stash.candidates()) kept[static_cast<std::size_t>(v)] = v == entry;
  EXPECT_EQ(stash.bytes(stash.demand(kept)), 512u);
}

// Of many tokens: the scratch of kernels, which nothing here changes, must not be most of the peak.
ir::Graph model_graph(models::Architecture model, std::int64_t layers) {
  const models::BatchShape shape{4, 128};
  model.layers = layers;
  model.context = shape.length;
  passes::Runner runner;
  return passes::compile_step(models::loss_graph(model, shape), std::nullopt, {}, runner)
      .accumulate_first;
}

class ModelFrontier : public ::testing::TestWithParam<models::Architecture (*)()> {};

TEST_P(ModelFrontier, FallsFromEverythingKeptToBelowAnyPolicy) {
  const ir::Graph graph = model_graph(GetParam()(), 6);
  const auto frontier = recompute_frontier(graph, toy_machine());
  EXPECT_EQ(frontier.front().added_seconds, 0);
  EXPECT_EQ(frontier.front().peak_bytes, measure(graph).peak);
  EXPECT_GE(frontier.size(), 8u);
  for (std::size_t i = 0; i < frontier.size(); ++i) {
    const Measured measured = measure(passes::applied(graph, frontier[i], toy_machine().cpu));
    EXPECT_EQ(frontier[i].peak_bytes, measured.peak);
    EXPECT_NEAR(frontier[i].added_seconds, measured.seconds - measure(graph).seconds,
                1e-9 * measured.seconds);
    if (i == 0) continue;
    EXPECT_LT(frontier[i].peak_bytes, frontier[i - 1].peak_bytes);
    EXPECT_GT(frontier[i].added_seconds, frontier[i - 1].added_seconds);
  }
  for (const auto policy : {passes::RecomputePolicy::selective, passes::RecomputePolicy::full}) {
    const Measured fixed = measure(passes::recompute(graph, policy));
    const RecomputePoint& point = passes::cheapest_within(frontier, fixed.peak);
    EXPECT_LE(point.peak_bytes, fixed.peak);
    EXPECT_LE(measure(graph).seconds + point.added_seconds, fixed.seconds * (1 + 1e-9));
  }
}

TEST_P(ModelFrontier, FitsTheBudgetOrNeedsLeast) {
  const ir::Graph graph = model_graph(GetParam()(), 3);
  const auto frontier = recompute_frontier(graph, toy_machine());
  const std::size_t most = frontier.front().peak_bytes, least = frontier.back().peak_bytes;
  double before = INFINITY;
  for (std::size_t budget = least; budget <= most; budget += 1 + (most - least) / 20) {
    const RecomputePoint& point = passes::cheapest_within(frontier, budget);
    EXPECT_LE(point.peak_bytes, budget);
    EXPECT_LE(point.added_seconds, before);
    before = point.added_seconds;
  }
  const std::size_t middle = (least + most) / 2;
  passes::Runner runner;
  KnownFrontiers known;
  EXPECT_LE(measure(recompute_to_fit(graph, middle, toy_machine(), runner, known)).peak, middle);
  EXPECT_EQ(measure(recompute_to_fit(graph, least - 1, toy_machine(), runner, known)).peak, least);
}

INSTANTIATE_TEST_SUITE_P(Models, ModelFrontier,
                         ::testing::Values(bessemer::testing::tiny_gpt2,
                                           bessemer::testing::tiny_llama),
                         [](const auto& test) { return test.index == 0 ? "gpt2" : "llama"; });

TEST(RecomputeFrontier, EmptyIsRefused) { EXPECT_THROW(passes::cheapest_within({}, 1), Error); }

}  // namespace
}  // namespace bessemer::plan

#include "plan/timeline.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/arena.h"
#include "passes/pipeline.h"
#include "plan/plot.h"
#include "support/model_inputs.h"

namespace bessemer::plan {
namespace {

Plan plan_of_a_step(const models::Architecture& model, passes::Recipe recipe) {
  passes::StepOptions options;
  options.precision = recipe;
  options.accumulates = true;
  passes::Runner runner;
  const passes::StepGraphs step =
      passes::compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, runner);
  std::vector<const ir::Graph*> graphs{&step.accumulate_first, &*step.accumulate, &step.update};
  if (!step.refresh.nodes().empty()) graphs.insert(graphs.begin(), &step.refresh);
  return make_plan(graphs, cost::describe_here());
}

std::vector<Plan> plans() {
  std::vector<Plan> all;
  for (const auto recipe : {passes::Recipe::fp32, passes::Recipe::bf16}) {
    all.push_back(plan_of_a_step(bessemer::testing::tiny_gpt2(), recipe));
    all.push_back(plan_of_a_step(bessemer::testing::tiny_llama(), recipe));
  }
  return all;
}

TEST(Timeline, IsThePlansPeakAtItsPeakAndTheLedgersAccounts) {
  for (const Plan& plan : plans()) {
    const std::vector<Moment> timeline = memory_timeline(plan);
    const Moment& peak = timeline[peak_of(timeline)];
    std::map<std::string, std::size_t> accounts;
    std::size_t unused = 0;
    for (const LedgerEntry& entry : ledger(plan)) {
      if (entry.category == "unused") {
        unused += entry.bytes;
      } else {
        accounts[entry.category] += entry.bytes;
      }
    }
    EXPECT_EQ(peak.sum(), plan.arena_bytes - unused);
    for (std::size_t c = 0; c < kTimelineCategories.size(); ++c) {
      EXPECT_EQ(peak.bytes[c], accounts[std::string(kTimelineCategories[c])])
          << kTimelineCategories[c];
    }
  }
}

// Against a count of each moment's buffers by hand.
TEST(Timeline, HasOneMomentForEachInstructionWithWhatIsAliveThere) {
  for (const Plan& plan : plans()) {
    const std::vector<Moment> timeline = memory_timeline(plan);
    std::size_t next = 0;
    for (const char* name : {"refresh", "accumulate_first", "accumulate", "update"}) {
      const Program* program = plan.find(name);
      if (program == nullptr) continue;
      for (std::size_t i = 0; i < program->instructions.size(); ++i, ++next) {
        ASSERT_LT(next, timeline.size());
        EXPECT_EQ(timeline[next].program, name);
        EXPECT_EQ(timeline[next].instruction, i);
        const int now = program->instructions[i].moment;
        std::size_t bytes = plan.persistent_bytes + plan.data_bytes;
        for (const TransientBuffer& b : program->transients) {
          if (b.first <= now && now <= b.last) bytes += align_up(b.bytes);
        }
        EXPECT_EQ(timeline[next].sum(), bytes) << name << " " << i;
      }
    }
    EXPECT_EQ(next, timeline.size());
  }
}

// The heights of all corners of the areas of a picture, in pixels from its upper edge.
std::map<std::string, std::vector<double>> drawn_heights(const std::string& svg) {
  std::map<std::string, std::vector<double>> heights;
  const std::string key = "<polygon data-category=\"";
  for (std::size_t at = svg.find(key); at != std::string::npos; at = svg.find(key, at + 1)) {
    const std::size_t name = at + key.size();
    std::vector<double>& drawn = heights[svg.substr(name, svg.find('"', name) - name)];
    const char* next = svg.c_str() + svg.find("points=\"", at) + 8;
    while (*next != '"') {
      char* end = nullptr;
      std::strtod(next, &end);
      drawn.push_back(std::strtod(end + 1, &end));
      next = *end == ' ' ? end + 1 : end;
    }
  }
  return heights;
}

TEST(Plot, DrawsThePeakAsHighAsItIs) {
  for (const Plan& plan : plans()) {
    const std::vector<Moment> timeline = memory_timeline(plan);
    const std::size_t peak = timeline[peak_of(timeline)].sum();
    const std::string svg = memory_svg(timeline, plan.arena_bytes, "a < b");
    EXPECT_NE(svg.find("(" + std::to_string(peak) + " bytes)"), std::string::npos);
    EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
    constexpr double kTop = 60, kBottom = 480, kPixel = 0.11;  // rounded to a tenth
    double highest = kBottom;
    for (const auto& [category, corners] : drawn_heights(svg)) {
      for (const double y : corners) {
        highest = std::min(highest, y);
        EXPECT_LE(y, kBottom) << category;
      }
    }
    const double drawn = (kBottom - highest) / (kBottom - kTop);
    const double expected = static_cast<double>(peak) / static_cast<double>(plan.arena_bytes);
    EXPECT_NEAR(drawn, expected, kPixel / (kBottom - kTop));
  }
}

TEST(Plot, HasAnAreaForEachCategoryInUse) {
  const Plan plan = plan_of_a_step(bessemer::testing::tiny_llama(), passes::Recipe::bf16);
  const auto areas = drawn_heights(memory_svg(memory_timeline(plan), plan.arena_bytes, ""));
  for (const char* used : {"parameters", "optimizer", "gradients", "weights", "data", "stash"}) {
    EXPECT_TRUE(areas.contains(used)) << used;
  }
  EXPECT_FALSE(areas.contains("cache"));
}

}  // namespace
}  // namespace bessemer::plan

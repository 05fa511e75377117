#include "passes/pass.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/text.h"
#include "ops/builder.h"
#include "passes/pipeline.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

const char* const kGraph = R"(graph g
data %x: fp32[4] "x"
%y: fp32[4] = silu(%x)
return "y" %y
)";

// Appends a node that nothing uses.
ir::Graph grow(ir::Graph graph) {
  ops::Builder(graph).add("silu", {0});
  return graph;
}

// States another type than silu gives.
ir::Graph spoil(ir::Graph graph) {
  graph.value(graph.nodes().front().results[0]).type.shape = {5};
  return graph;
}

TEST(Runner, RunsInOrderAndKeepsTimings) {
  Runner runner;
  const ir::Graph graph = runner.run(ir::parse(kGraph), {{"grow", grow}, {"grow_again", grow}});
  EXPECT_EQ(graph.nodes().size(), 3u);
  ASSERT_EQ(runner.timings().size(), 2u);
  const PassTiming& last = runner.timings()[1];
  EXPECT_EQ(last.graph, "g");
  EXPECT_EQ(last.pass, "grow_again");
  EXPECT_EQ(last.nodes_before, 2u);
  EXPECT_EQ(last.nodes_after, 3u);
  EXPECT_GE(last.seconds, 0);
}

TEST(Runner, DumpsAfterThePassesAskedFor) {
  std::vector<std::pair<std::string, std::string>> dumped;
  RunnerOptions options;
  options.dump_after = {"grow"};
  options.dump = [&](const std::string& pass, const std::string& text) {
    dumped.emplace_back(pass, text);
  };
  Runner runner(options);
  runner.run(ir::parse(kGraph), {{"nothing", [](ir::Graph g) { return g; }}, {"grow", grow}});
  ASSERT_EQ(dumped.size(), 1u);
  EXPECT_EQ(dumped[0].first, "grow");
  EXPECT_EQ(dumped[0].second, R"(graph g
data %x: fp32[4] "x"
%y: fp32[4] = silu(%x)
%silu: fp32[4] = silu(%x)
return "y" %y
)");
}

TEST(Runner, NamesThePassThatBrokeTheGraph) {
  Runner runner;
  try {
    runner.run(ir::parse(kGraph), {{"grow", grow}, {"spoil", spoil}, {"grow_again", grow}});
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("the graph g is broken after pass spoil: "))
        << error.what();
  }
  EXPECT_EQ(runner.timings().size(), 2u);
  RunnerOptions trusting;
  trusting.verify = false;
  Runner unchecked(trusting);
  EXPECT_EQ(unchecked.run(ir::parse(kGraph), {{"spoil", spoil}}).nodes().size(), 1u);
}

TEST(Pipeline, RunsEveryPassThatItNames) {
  Runner runner;
  StepOptions options;
  options.accumulates = true;
  options.stash = StashFormat::int8;
  options.device = kernels::Backend::cuda;
  const ir::Graph loss = models::loss_graph(bessemer::testing::tiny_llama(), {2, 4});
  const StepGraphs step = compile_step(loss, loss, options, runner);
  std::vector<std::string> ran;
  for (const PassTiming& timing : runner.timings()) {
    if (timing.graph == "accumulate_first") ran.push_back(timing.pass);
  }
  // Where a run asks for it: of the last micro-batch, and of all graphs of a run together.
  ran.insert(ran.end(), {"collect_amax", "write_weights", "early_norm", "delay_update",
                         "speculate_update", "offload", "join_adds", "join_updates"});
  EXPECT_EQ(ran, pass_names());
  EXPECT_EQ(step.accumulate_first.name(), "accumulate_first");
  EXPECT_EQ(step.accumulate->name(), "accumulate");
  EXPECT_EQ(step.update.name(), "update");
  EXPECT_EQ(step.evaluate->name(), "evaluate");
  EXPECT_FALSE(step.refresh.nodes().empty());
  options.precision = Recipe::fp32;
  options.accumulates = false;
  const StepGraphs plain = compile_step(loss, std::nullopt, options, runner);
  EXPECT_TRUE(plain.refresh.nodes().empty());
  EXPECT_FALSE(plain.accumulate || plain.evaluate);
}

}  // namespace
}  // namespace bessemer::passes

// Execution of a plan: all tensors in one arena, shared by lifetime, computed in place and in their
// homes, must give the bits of a run with a buffer for every value.
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "passes/pipeline.h"
#include "support/random_graph.h"
#include "support/model_inputs.h"
#include "support/planned.h"

namespace bessemer::testing {
namespace {

constexpr std::int64_t kVocabulary = 11;

NamedTensors persistent_of(const ir::Graph& graph, std::uint64_t seed) {
  NamedTensors state;
  for (const ir::Input& input : graph.inputs()) {
    if (!ir::is_persistent(input.role)) continue;
    state.emplace(input.name, value_for(input, graph.type(input.value), kVocabulary, seed));
  }
  return state;
}

NamedTensors data_of(const ir::Graph& graph, std::uint64_t seed) {
  NamedTensors data;
  for (const ir::Input& input : graph.inputs()) {
    if (input.role != ir::Role::data) continue;
    data.emplace(input.name, value_for(input, graph.type(input.value), kVocabulary, seed));
  }
  return data;
}

// Two runs: the second starts from what the first left.
void expect_plan_keeps_bits(const ir::Graph& graph, const std::string& what) {
  const plan::Plan plan = plan::make_plan({&graph}, cost::describe_here());
  const runtime::Executor executor(plan);
  Unplanned unplanned = start_alike(executor, persistent_of(graph, 1));
  for (std::uint64_t run = 0; run < 2; ++run) {
    expect_same_run(executor, unplanned, graph, data_of(graph, run),
                    fmt::format("{}, run {}\n{}", what, run, ir::print(graph)));
  }
}

TEST(PlannedExecution, RandomGraphsKeepTheirBits) {
  for (std::uint64_t seed = 0; seed < 300 && !::testing::Test::HasFailure(); ++seed) {
    expect_plan_keeps_bits(RandomGraph(seed).make(), fmt::format("seed {}", seed));
  }
}

struct HazardCase {
  const char* name;
  const char* body;  // over parameters %a "a", %b "b" and data %x "x", all fp32[4]
};

class Hazards : public ::testing::TestWithParam<HazardCase> {};

TEST_P(Hazards, KeepTheirBits) {
  const std::string text = std::string(
                               "graph g\nparameter %a: fp32[4] \"a\"\nparameter %b: fp32[4] \"b\"\n"
                               "data %x: fp32[4] \"x\"\n") +
                           GetParam().body;
  expect_plan_keeps_bits(ir::parse(text), GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(
    Writes, Hazards,
    ::testing::Values(
        HazardCase{"in_its_home", "%y: fp32[4] = add(%a, %x)\nwrite \"a\" %y\n"},
        HazardCase{"old_value_used_later",
                   "%y: fp32[4] = add(%x, %x)\n%z: fp32[4] = add(%a, %y)\n"
                   "write \"a\" %y\nreturn \"z\" %z\n"},
        HazardCase{"old_value_returned",
                   "%y: fp32[4] = add(%a, %x)\n"
                   "write \"a\" %y\nreturn \"old\" %a\n"},
        HazardCase{"swapped", "write \"a\" %b\nwrite \"b\" %a\n"},
        HazardCase{"moved_and_replaced_in_place",
                   "%y: fp32[4] = add(%a, %x)\nwrite \"a\" %y\nwrite \"b\" %a\n"},
        HazardCase{"moved_first", "%y: fp32[4] = add(%a, %x)\nwrite \"b\" %a\nwrite \"a\" %y\n"},
        HazardCase{"moved_on", "%y: fp32[4] = add(%b, %x)\nwrite \"b\" %a\nwrite \"a\" %y\n"},
        HazardCase{"one_value_twice",
                   "%y: fp32[4] = add(%a, %b)\nwrite \"a\" %y\nwrite \"b\" %y\n"},
        HazardCase{"data_kept", "write \"a\" %x\nwrite \"b\" %x\n"},
        HazardCase{"unchanged", "%y: fp32[4] = add(%a, %x)\nwrite \"a\" %a\nwrite \"b\" %y\n"},
        HazardCase{"operand_twice", "%y: fp32[4] = multiply(%a, %a)\nwrite \"a\" %y\n"},
        HazardCase{"view_of_the_old_used_later",
                   "%v: fp32[2,2] = reshape(%a) {shape=[2,2]}\n%y: fp32[4] = add(%x, %x)\n"
                   "%z: fp32[2,2] = add(%v, %v)\nwrite \"a\" %y\nreturn \"z\" %z\n"}),
    [](const auto& test) { return test.param.name; });

struct StepCase {
  const char* name;
  models::Architecture architecture;
  passes::Recipe recipe;
};

class Steps : public ::testing::TestWithParam<StepCase> {};

// Whole training steps with dropout: refresh, two micro-batches, update, evaluation.
TEST_P(Steps, KeepTheirBits) {
  models::Architecture architecture = GetParam().architecture;
  const models::BatchShape shape{2, 6};
  const ir::Graph evaluation = models::loss_graph(architecture, shape);
  architecture.dropout = 0.1;
  passes::StepOptions options;
  options.precision = GetParam().recipe;
  options.accumulates = true;
  passes::Runner runner;
  const passes::StepGraphs step =
      passes::compile_step(models::loss_graph(architecture, shape), evaluation, options, runner);
  std::vector<const ir::Graph*> graphs{&step.accumulate_first, &*step.accumulate, &step.update,
                                       &*step.evaluate};
  if (!step.refresh.nodes().empty()) graphs.insert(graphs.begin(), &step.refresh);
  const plan::Plan plan = plan::make_plan(graphs, cost::describe_here());
  const runtime::Executor executor(plan);
  Unplanned unplanned = start_alike(executor, persistent_of(step.update, 1));
  for (std::uint64_t s = 0; s < 3; ++s) {
    for (const ir::Graph* graph : graphs) {
      expect_same_run(executor, unplanned, *graph, data_of(*graph, s),
                      fmt::format("step {}, {}", s, graph->name()));
    }
  }
  EXPECT_EQ(unplanned.state().at("optimizer.step").get(0), 3);
}

INSTANTIATE_TEST_SUITE_P(
    Models, Steps,
    ::testing::Values(StepCase{"gpt2_fp32", tiny_gpt2(), passes::Recipe::fp32},
                      StepCase{"gpt2_bf16", tiny_gpt2(), passes::Recipe::bf16},
                      StepCase{"llama_fp32", tiny_llama(), passes::Recipe::fp32},
                      StepCase{"llama_bf16", tiny_llama(), passes::Recipe::bf16}),
    [](const auto& test) { return test.param.name; });

TEST(Executor, NamesWhatIsMissing) {
  const ir::Graph graph = ir::parse(
      "graph g\nparameter %a: fp32[4] \"a\"\ndata %x: fp32[4] \"x\"\n"
      "%y: fp32[4] = add(%a, %x)\nreturn \"y\" %y\n");
  const plan::Plan plan = plan::make_plan({&graph}, cost::describe_here());
  const runtime::Executor executor(plan);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_FALSE(executor.find("h").valid());
  EXPECT_EQ(message([&] { executor.run("h"); }), "the plan has no program h");
  EXPECT_EQ(message([&] { executor.tensor("x"); }), "the plan has no tensor x");
  EXPECT_EQ(message([&] { executor.data("g", "a"); }), "program g takes no data a");
  EXPECT_EQ(message([&] { executor.result("g", "z"); }), "program g has no result z");
  EXPECT_EQ(message([&] { executor.result("h", "y"); }), "the plan has no program h");
}

TEST(Executor, ProfilesEveryInstruction) {
  const ir::Graph graph = RandomGraph(3).make();
  const plan::Plan plan = plan::make_plan({&graph}, cost::describe_here());
  const runtime::Executor executor(plan);
  std::vector<std::size_t> seen;
  executor.run_profiled(executor.find("random"), [&](std::size_t i, double seconds) {
    seen.push_back(i);
    EXPECT_GE(seconds, 0);
  });
  ASSERT_EQ(seen.size(), plan.programs[0].instructions.size());
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i);
}

TEST(Executor, StartsWithZeros) {
  const ir::Graph graph = RandomGraph(5).make();
  const plan::Plan plan = plan::make_plan({&graph}, cost::describe_here());
  const runtime::Executor executor(plan);
  for (const plan::CatalogEntry& entry : plan.catalog) {
    const runtime::TensorBytes bytes = executor.tensor(entry.name);
    for (std::size_t i = 0; i < bytes.bytes(); ++i) ASSERT_EQ(bytes.data[i], std::byte{0});
  }
}

}  // namespace
}  // namespace bessemer::testing

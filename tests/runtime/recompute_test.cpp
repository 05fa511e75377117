// Random models under random budgets: what is executed fits, has the bits of a step that keeps
// everything, and costs no more with more memory.
#include <fmt/format.h>

#include "passes/pipeline.h"
#include "passes/recompute.h"
#include "plan/recompute_to_fit.h"
#include "support/model_inputs.h"
#include "support/planned.h"
#include "support/training_graph.h"

namespace bessemer::runtime {
namespace {

using bessemer::testing::NamedTensors;

// Results and written gradients of one run by an executor.
NamedTensors execute(const ir::Graph& graph, const plan::Plan& plan, const NamedTensors& inputs) {
  const Executor executor(plan);
  for (const ir::Input& input : graph.inputs()) {
    const bool data = input.role == ir::Role::data;
    bessemer::testing::set_bytes(
        data ? executor.data(graph.name(), input.name) : executor.tensor(input.name),
        inputs.at(input.name));
  }
  executor.run(graph.name());
  NamedTensors outputs;
  for (const ir::Output& output : graph.outputs()) {
    const bool result = output.kind == ir::Output::Kind::result;
    const TensorBytes bytes =
        result ? executor.result(graph.name(), output.name) : executor.tensor(output.name);
    bessemer::testing::Tensor value(bytes.type);
    std::memcpy(value.data(), bytes.data, bytes.bytes());
    outputs.emplace(output.name, std::move(value));
  }
  return outputs;
}

TEST(RecomputeToFit, RandomModelsUnderRandomBudgets) {
  const cost::MachineDescription machine = cost::describe_here();
  int recomputed = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const ir::Graph graph =
        bessemer::testing::random_training_graph(1000 + seed, 6 + static_cast<int>(seed));
    SCOPED_TRACE(fmt::format("seed {}", 1000 + seed));
    const NamedTensors inputs = bessemer::testing::values_for(graph, 1, seed);
    const plan::Plan everything = plan::make_plan({&graph}, machine);
    const NamedTensors expected = execute(graph, everything, inputs);
    const auto frontier = plan::recompute_frontier(graph, machine);
    const CounterRng rng(seed, 0, 3);
    std::vector<std::pair<std::size_t, double>> chosen;  // budget, added seconds
    for (std::uint64_t i = 0; i < 4; ++i) {
      const std::size_t least = frontier.back().peak_bytes, most = frontier.front().peak_bytes;
      const std::size_t budget = least + rng.word(i) % (most - least + 1);
      const passes::RecomputePoint& point = passes::cheapest_within(frontier, budget);
      chosen.emplace_back(budget, point.added_seconds);
      const ir::Graph after = passes::applied(graph, point, machine.cpu);
      ASSERT_NO_THROW(ops::verify(after));
      const plan::Plan plan = plan::make_plan({&after}, machine);
      EXPECT_LE(plan.arena_bytes, everything.persistent_bytes + everything.data_bytes + budget);
      recomputed += after.nodes().size() > graph.nodes().size() ? 1 : 0;
      for (const auto& [name, value] : execute(after, plan, inputs)) {
        EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
      }
    }
    std::sort(chosen.begin(), chosen.end());
    for (std::size_t i = 1; i < chosen.size(); ++i) {
      EXPECT_LE(chosen[i].second, chosen[i - 1].second);
    }
  }
  EXPECT_GT(recomputed, 20);
}

// Models whose head, or every third whose MLPs, take most of the peak, so that their chunks are
// among what is chosen.
TEST(RecomputeToFit, ModelsInChunksUnderRandomBudgets) {
  cost::MachineDescription machine = cost::describe_here();
  machine.cpu.avx512_bf16 = false;  // oneDNN's bf16 products keep to their chunk
  int heads = 0, mlps = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const CounterRng rng(seed, 0, 4);
    models::Architecture model =
        seed % 2 == 0 ? bessemer::testing::tiny_gpt2() : bessemer::testing::tiny_llama();
    const bool wide = seed % 3 == 2;
    model.vocabulary = wide ? 30 : 500 + rng.word(0) % 1500;
    model.hidden = 24, model.head_dim = 12, model.ffn = wide ? 200 : 40;
    const std::int64_t length = model.context = (wide ? 200 : 40) + rng.word(1) % 40;
    passes::Runner runner;
    const passes::StepGraphs step = passes::compile_step(
        models::loss_graph(model, {3, length}), std::nullopt, {.accumulates = true}, runner);
    const ir::Graph& graph = seed < 3 ? step.accumulate_first : *step.accumulate;
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const NamedTensors inputs = bessemer::testing::values_for(graph, model.vocabulary, seed);
    const plan::Plan everything = plan::make_plan({&graph}, machine);
    const NamedTensors expected = execute(graph, everything, inputs);
    const auto frontier = plan::recompute_frontier(graph, machine);
    const std::size_t least = frontier.back().peak_bytes, most = frontier.front().peak_bytes;
    for (std::size_t i = 1; i < frontier.size(); ++i) {
      EXPECT_LT(frontier[i].peak_bytes, frontier[i - 1].peak_bytes);
      EXPECT_GT(frontier[i].added_seconds, frontier[i - 1].added_seconds);
    }
    for (std::uint64_t i = 2; i < 8; ++i) {
      const std::size_t budget = i == 2 ? least : least + rng.word(i) % (most - least + 1);
      const passes::RecomputePoint& point = passes::cheapest_within(frontier, budget);
      const ir::Graph after = passes::applied(graph, point, machine.cpu);
      ASSERT_NO_THROW(ops::verify(after));
      const plan::Plan plan = plan::make_plan({&after}, machine);
      EXPECT_LE(plan.arena_bytes, everything.persistent_bytes + everything.data_bytes + budget);
      heads += point.chunking.head > 1 ? 1 : 0;
      mlps += point.chunking.mlp > 1 ? 1 : 0;
      for (const auto& [name, value] : execute(after, plan, inputs)) {
        EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
      }
    }
  }
  EXPECT_GT(heads, 10);
  EXPECT_GT(mlps, 0);
}

TEST(ChunkMlp, LowersThePeakOfAFullyRecomputedStep) {
  cost::MachineDescription machine = cost::describe_here();
  machine.cpu.avx512_bf16 = false;
  for (const auto make : {bessemer::testing::tiny_gpt2, bessemer::testing::tiny_llama}) {
    models::Architecture model = make();
    model.hidden = 24, model.head_dim = 12, model.ffn = 96, model.context = 512;
    passes::StepOptions options;
    options.recompute = passes::RecomputePolicy::full;
    passes::Runner runner;
    const ir::Graph whole =
        passes::compile_step(models::loss_graph(model, {2, 512}), std::nullopt, options, runner)
            .accumulate_first;
    std::size_t before = plan::make_plan({&whole}, machine).programs[0].transient_bytes;
    for (const std::int64_t parts : {2, 4}) {
      const ir::Graph cut = passes::chunk_mlp(whole, parts, machine.cpu);
      const std::size_t after = plan::make_plan({&cut}, machine).programs[0].transient_bytes;
      EXPECT_LT(after, before) << parts;
      before = after;
    }
  }
}

// A graph without backward has nothing to recompute, but its head may take fewer rows at a time.
TEST(ChunkToFit, EvaluatesInTheLargestChunksThatFit) {
  cost::MachineDescription machine = cost::describe_here();
  machine.cpu.avx512_bf16 = false;
  models::Architecture model = bessemer::testing::tiny_gpt2();
  model.vocabulary = 2000, model.context = 128;
  passes::Runner runner;
  const auto forward = models::loss_graph(model, {2, 128});
  const ir::Graph graph = passes::compile_forward(forward, passes::Recipe::bf16, runner).forward;
  const auto needs = [&](const ir::Graph& g) {
    return plan::make_plan({&g}, machine).programs[0].transient_bytes;
  };
  const std::size_t most = needs(graph);
  const std::size_t least = needs(plan::chunk_to_fit(graph, 0, machine));
  EXPECT_LT(least, most / 2);
  EXPECT_EQ(needs(plan::chunk_to_fit(graph, most, machine)), most);
  const ir::Graph some = plan::chunk_to_fit(graph, most - 1, machine);
  EXPECT_LT(needs(some), most);
  EXPECT_GT(needs(some), least);
  const NamedTensors inputs = bessemer::testing::values_for(graph, model.vocabulary, 1);
  const NamedTensors expected = execute(graph, plan::make_plan({&graph}, machine), inputs);
  const NamedTensors found = execute(some, plan::make_plan({&some}, machine), inputs);
  EXPECT_TRUE(same_bits(found.at("loss"), expected.at("loss")));
}

}  // namespace
}  // namespace bessemer::runtime

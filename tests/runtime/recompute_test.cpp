// Random models under random budgets: what is executed fits, has the bits of a step that keeps
// everything, and costs no more with more memory.
#include <fmt/format.h>

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
      const ir::Graph after = passes::recompute(graph, point.kept);
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

}  // namespace
}  // namespace bessemer::runtime

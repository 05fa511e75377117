// Updates that become one node.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/join_updates.h"

namespace bessemer::passes {
namespace {

// Parameters a, b, c... of three elements and more, of which every second decays and every third
// gives a weight; what `more` adds comes after them.
ir::Graph updates(int count, const std::string& more = "") {
  std::string inputs, nodes, writes;
  for (int i = 0; i < count; ++i) {
    const std::string n = std::string(1, static_cast<char>('a' + i));
    const std::string type = fmt::format("fp32[{}]", 3 + i);
    inputs +=
        fmt::format("parameter %{0}: {1} \"{0}\"\ngradient %g{0}: {1} \"gradient.{0}\"\n", n, type);
    inputs +=
        fmt::format("optimizer %m{0}: {1} \"m.{0}\"\noptimizer %v{0}: {1} \"v.{0}\"\n", n, type);
    const bool weight = i % 3 == 0;
    if (weight) inputs += fmt::format("weight %w{0}: bf16[{1}] \"w.{0}\"\n", n, 3 + i);
    nodes += fmt::format("%{0}2: {1}, %m{0}2: {1}, %v{0}2: {1}", n, type);
    if (weight) nodes += fmt::format(", %w{}2: bf16[{}]", n, 3 + i);
    nodes += fmt::format(
        " = adamw_update(%{0}, %g{0}, %m{0}, %v{0}, %rate, %step, %clip) "
        "{{beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay={1}{2}}}\n",
        n, i % 2 == 0 ? "0.1" : "0.0", weight ? ", weight=\"bf16\"" : "");
    writes +=
        fmt::format("write \"{0}\" %{0}2\nwrite \"m.{0}\" %m{0}2\nwrite \"v.{0}\" %v{0}2\n", n);
    if (weight) writes += fmt::format("write \"w.{0}\" %w{0}2\n", n);
  }
  return ir::parse("graph update\n" + inputs +
                   "data %rate: fp32[] \"rate\"\ndata %step: int64[] \"step\"\n"
                   "data %clip: fp32[] \"clip\"\n" +
                   nodes + more + writes);
}

int count(const ir::Graph& graph, std::string_view op) {
  int nodes = 0;
  for (const ir::Node& node : graph.nodes()) nodes += node.op == op ? 1 : 0;
  return nodes;
}

TEST(JoinUpdates, MakesOneNodeThatWritesTheSame) {
  const ir::Graph before = updates(5), after = join_updates(before);
  ops::verify(after);
  ASSERT_EQ(after.nodes().size(), 1u);
  const ir::Node& node = after.nodes()[0];
  EXPECT_EQ(node.op, "adamw_update_all");
  EXPECT_EQ(node.attributes.integers("decays"), (std::vector<std::int64_t>{1, 0, 1, 0, 1}));
  EXPECT_EQ(node.attributes.integers("weights"), (std::vector<std::int64_t>{1, 0, 0, 1, 0}));
  EXPECT_EQ(after.outputs().size(), before.outputs().size());
}

TEST(JoinUpdates, LeavesWhatLiesElsewhereAndWhatIsRead) {
  ir::Graph graph = updates(4, "%sum: fp32[4] = add(%b2, %b2)\nreturn \"sum\" %sum\n");
  graph.value(graph.find_input("m.c")->value).tier = ir::Tier::host;
  const ir::Graph after = join_updates(graph);
  EXPECT_EQ(count(after, "adamw_update_all"), 1);
  EXPECT_EQ(count(after, "adamw_update"), 2);
}

TEST(JoinUpdates, LeavesASingleOneAsItIs) {
  EXPECT_EQ(ir::print(join_updates(updates(1))), ir::print(updates(1)));
}

TEST(JoinUpdates, KeepsApartWhatDiffersInMoreThanTensors) {
  ir::Graph graph = updates(4);
  graph.nodes()[1].attributes.set("beta1", 0.8);
  graph.nodes()[3].attributes.set("beta1", 0.8);
  const ir::Graph after = join_updates(graph);
  ops::verify(after);
  EXPECT_EQ(count(after, "adamw_update_all"), 2);
  EXPECT_EQ(after.nodes().size(), 2u);
}

// Matrices in bf16 beside vectors in fp32: a node for each, and every parameter keeps its site.
TEST(JoinUpdates, KeepsParametersOfTwoDtypesApart) {
  ir::Graph graph = updates(5);
  for (const int i : {1, 2, 4}) {
    ir::Node& node = graph.nodes()[static_cast<std::size_t>(i)];
    graph.value(node.operands[0]).type.dtype = DType::bf16;
    graph.value(node.results[0]).type.dtype = DType::bf16;
    node.attributes.set("seed", 9);
    node.attributes.set("site", 10 + i);
  }
  ops::verify(graph);
  const ir::Graph after = join_updates(graph);
  ops::verify(after);
  ASSERT_EQ(after.nodes().size(), 2u);
  for (const ir::Node& node : after.nodes()) {
    if (node.attributes.find("seed") == nullptr) continue;
    EXPECT_EQ(node.attributes.integer("seed"), 9);
    EXPECT_EQ(node.attributes.integers("sites"), (std::vector<std::int64_t>{11, 12, 14}));
    EXPECT_EQ(node.attributes.integers("decays"), (std::vector<std::int64_t>{0, 1, 1}));
  }
}

}  // namespace
}  // namespace bessemer::passes

// Sums into gradients that become one node.
#include "passes/join_adds.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

const char* const kAdds = R"(graph accumulate
data %x: fp32[4,3] "x"
gradient %a: fp32[3] "gradient.a"
gradient %b: fp32[4] "gradient.b"
gradient %c: fp32[3] "gradient.c"
%da: fp32[3] = reduce_sum(%x) {dims=[0]}
%a2: fp32[3] = add(%a, %da)   # a
%db: fp32[4] = reduce_sum(%x) {dims=[1]}
%b2: fp32[4] = add(%b, %db)   # b
%dc: fp32[3] = add(%da, %da)
%c2: fp32[3] = add(%c, %dc)   # c
write "gradient.a" %a2
write "gradient.b" %b2
write "gradient.c" %c2
)";

const char* const kJoined = R"(graph accumulate
data %x: fp32[4,3] "x"
gradient %a: fp32[3] "gradient.a"
gradient %b: fp32[4] "gradient.b"
gradient %c: fp32[3] "gradient.c"
%da: fp32[3] = reduce_sum(%x) {dims=[0]}
%db: fp32[4] = reduce_sum(%x) {dims=[1]}
%dc: fp32[3] = add(%da, %da)
%a2: fp32[3], %b2: fp32[4], %c2: fp32[3] = add_all(%a, %da, %b, %db, %c, %dc)   # 3 gradients
write "gradient.a" %a2
write "gradient.b" %b2
write "gradient.c" %c2
)";

// Gradients of `count` vectors of `elements`, each added to that of the micro-batches before.
ir::Graph adds(int count, std::int64_t elements) {
  std::string inputs, nodes, writes;
  for (int i = 0; i < count; ++i) {
    inputs += fmt::format("data %x{0}: fp32[{1}] \"x{0}\"\n", i, elements);
    inputs += fmt::format("gradient %g{0}: fp32[{1}] \"gradient.{0}\"\n", i, elements);
    nodes += fmt::format("%s{0}: fp32[{1}] = add(%g{0}, %x{0})\n", i, elements);
    writes += fmt::format("write \"gradient.{0}\" %s{0}\n", i);
  }
  return ir::parse("graph accumulate\n" + inputs + nodes + writes);
}

std::vector<std::size_t> sums_of_nodes(const ir::Graph& graph) {
  std::vector<std::size_t> sums;
  for (const ir::Node& node : graph.nodes()) sums.push_back(node.results.size());
  return sums;
}

TEST(JoinAdds, MakesOneNodeInThePlaceOfTheLast) {
  const ir::Graph after = join_adds(ir::parse(kAdds));
  ops::verify(after);
  EXPECT_EQ(ir::print(after), kJoined);
}

TEST(JoinAdds, LeavesWhatLiesElsewhereAndWhatIsRead) {
  std::string text = kAdds;
  text.insert(text.find("write"), "%sum: fp64[1] = sum_of_squares(%b2)\n");
  ir::Graph graph = ir::parse(text + "return \"sum\" %sum\n");
  EXPECT_EQ(join_adds(graph).nodes().size(), graph.nodes().size() - 1) << "a and c are joined";
  graph.value(graph.find_input("gradient.c")->value).tier = ir::Tier::host;
  EXPECT_EQ(ir::print(join_adds(graph)), ir::print(graph));
}

TEST(JoinAdds, LeavesOtherDtypesAndBroadcasts) {
  const ir::Graph graph = ir::parse(R"(graph g
data %x: fp32[3] "x"
data %y: bf16[3] "y"
gradient %a: fp32[2,3] "a"
gradient %b: bf16[3] "b"
gradient %c: bf16[3] "c"
gradient %d: fp32[2,3] "d"
%a2: fp32[2,3] = add(%a, %x)
%b2: bf16[3] = add(%b, %y)
%c2: bf16[3] = add(%c, %y)
%d2: fp32[2,3] = add(%d, %x)
write "a" %a2
write "b" %b2
write "c" %c2
write "d" %d2
)");
  EXPECT_EQ(ir::print(join_adds(graph)), ir::print(graph));
}

// What waits for a node is at most 1 MiB, 2^18 floats.
TEST(JoinAdds, KeepsLittleWaiting) {
  using Sums = std::vector<std::size_t>;
  EXPECT_EQ(sums_of_nodes(join_adds(adds(5, std::int64_t{1} << 17))), (Sums{2, 2, 1}));
  EXPECT_EQ(sums_of_nodes(join_adds(adds(3, std::int64_t{1} << 18))), (Sums{1, 1, 1}));
  EXPECT_EQ(sums_of_nodes(join_adds(adds(1030, 1))), (Sums{1024, 6}));
}

}  // namespace
}  // namespace bessemer::passes

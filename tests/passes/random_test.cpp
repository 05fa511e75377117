// Rewriting passes on random graphs: whatever they find to rewrite, the numbers stay.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/fuse.h"
#include "passes/order.h"
#include "passes/rewrite.h"
#include "support/model_inputs.h"
#include "support/random_graph.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::KernelChoice;

struct RandomCase {
  const char* name;
  ir::Graph (*pass)(ir::Graph graph);
  double tolerance;
  bool rewrites;  // leaves fewer nodes in some of the graphs
};

class RandomGraphs : public ::testing::TestWithParam<RandomCase> {};

TEST_P(RandomGraphs, KeepTheirNumbers) {
  std::size_t removed = 0;
  for (std::uint64_t seed = 0; seed < 300 && !::testing::Test::HasFailure(); ++seed) {
    const ir::Graph before = bessemer::testing::RandomGraph(seed).make();
    const ir::Graph after = GetParam().pass(before);
    const std::string what =
        fmt::format("seed {}\n{}becomes\n{}", seed, ir::print(before), ir::print(after));
    SCOPED_TRACE(what);
    ASSERT_NO_THROW(ops::verify(after));
    removed += before.nodes().size() - after.nodes().size();
    const auto inputs = bessemer::testing::values_for(before, 1, seed);
    const auto expected = run_graph(before, inputs, KernelChoice::first_accepting);
    const auto results = run_graph(after, inputs, KernelChoice::first_accepting);
    ASSERT_EQ(results.size(), expected.size());
    for (const auto& [name, value] : expected) {
      if (GetParam().tolerance == 0) {
        EXPECT_TRUE(same_bits(results.at(name), value)) << name;
      } else {
        EXPECT_LE(relative_difference(results.at(name), value), GetParam().tolerance) << name;
      }
    }
  }
  EXPECT_EQ(removed > 0, GetParam().rewrites);
}

INSTANTIATE_TEST_SUITE_P(
    All, RandomGraphs,
    ::testing::Values(RandomCase{"fuse_addends", fuse_addends, 1e-4, true},
                      RandomCase{"fuse_elementwise", fuse_elementwise, 0, true},
                      RandomCase{"order", order, 0, false},
                      RandomCase{"in_dependency_order", in_dependency_order, 0, false}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace bessemer::passes

// The update that writes the weights it can.
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/write_weights.h"

namespace bessemer::passes {
namespace {

constexpr const char* kUpdate = R"(graph update
parameter %w: fp32[8,4] "w"
parameter %u: fp32[8,4] "u"
gradient %g: fp32[8,4] "gradient.w"
optimizer %m: fp32[8,4] "m"
optimizer %v: fp32[8,4] "v"
data %rate: fp32[] "rate"
data %step: int64[] "step"
data %c: fp32[] "c"
%w2: fp32[8,4], %m2: fp32[8,4], %v2: fp32[8,4] = adamw_update(%w, %g, %m, %v, %rate, %step, %c) {beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay=0.0}
write "w" %w2
write "m" %m2
write "v" %v2
)";

// One weight is a cast, another one is made of the same cast, and one of a parameter that is not
// updated here.
constexpr const char* kRefresh = R"(graph refresh
parameter %w: fp32[8,4] "w"
parameter %u: fp32[8,4] "u"
weight %weight: bf16[8,4] "weight.w.bf16"
weight %weight_1: bf16[4,8] "weight.w.bf16.transpose"
weight %weight_2: bf16[8,4] "weight.u.bf16"
%cast: bf16[8,4] = cast(%w) {dtype="bf16"}
%transpose: bf16[4,8] = transpose(%cast) {permutation=[1,0]}
%cast_1: bf16[8,4] = cast(%u) {dtype="bf16"}
write "weight.w.bf16" %cast
write "weight.w.bf16.transpose" %transpose
write "weight.u.bf16" %cast_1
)";

TEST(WriteWeights, GivesTheCastOfAParameterBesideIt) {
  const ir::Graph update = write_weights(ir::parse(kUpdate), ir::parse(kRefresh));
  ops::verify(update);
  const ir::Node& node = update.nodes().at(0);
  ASSERT_EQ(node.results.size(), 4u);
  EXPECT_EQ(node.attributes.text("weight"), "bf16");
  EXPECT_EQ(update.find_output("weight.w.bf16")->value, node.results[3]);
  EXPECT_EQ(update.find_input("weight.w.bf16")->role, ir::Role::weight);
  EXPECT_EQ(update.find_output("weight.w.bf16.transpose"), nullptr);
  EXPECT_EQ(update.find_output("weight.u.bf16"), nullptr);
}

TEST(WriteWeights, LeavesTheRestToAProgram) {
  const ir::Graph refresh = ir::parse(kRefresh);
  const ir::Graph rest = rest_of_refresh(refresh, write_weights(ir::parse(kUpdate), refresh));
  ops::verify(rest);
  EXPECT_EQ(rest.name(), "refresh_rest");
  EXPECT_EQ(rest.find_output("weight.w.bf16"), nullptr);
  EXPECT_EQ(rest.find_input("weight.w.bf16"), nullptr);
  EXPECT_NE(rest.find_output("weight.w.bf16.transpose"), nullptr);
  EXPECT_NE(rest.find_output("weight.u.bf16"), nullptr);
  EXPECT_EQ(rest.nodes().size(), 3u);
}

TEST(WriteWeights, LeavesNothingWhereAllIsWritten) {
  ir::Graph refresh = ir::parse(kRefresh);
  refresh.outputs().resize(1);
  refresh = ir::without_dead_nodes(std::move(refresh));
  const ir::Graph update = write_weights(ir::parse(kUpdate), refresh);
  EXPECT_TRUE(rest_of_refresh(refresh, update).nodes().empty());
}

TEST(WriteWeights, ChangesNothingWithoutWeights) {
  const ir::Graph update = write_weights(ir::parse(kUpdate), ir::Graph("refresh"));
  EXPECT_EQ(ir::print(update), ir::print(ir::parse(kUpdate)));
}

}  // namespace
}  // namespace bessemer::passes

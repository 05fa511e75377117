// The verifier: graphs it lets pass and what it says of those it does not.
#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/text.h"
#include "ops/op.h"

namespace bessemer::ops {
namespace {

constexpr std::string_view kGood = R"(graph good
data %x: fp32[4,8] "x"
parameter %w: fp32[8,8] "layer.weight"
gradient %g: fp32[8,8] "gradient.layer.weight"
%y: fp32[4,8] = matmul(%x, %w)   # layer
%dw: fp32[8,8] = matmul(%x, %y) {transpose_a=true}
%g2: fp32[8,8] = add(%g, %dw)
return "y" %y
write "gradient.layer.weight" %g2
)";

std::string replaced(std::string_view from, std::string_view to) {
  std::string text(kGood);
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string complaint(const ir::Graph& graph) {
  try {
    verify(graph);
  } catch (const Error& error) {
    return error.what();
  }
  return "no complaint";
}

TEST(Verify, LetsAWholeGraphPass) { EXPECT_EQ(complaint(ir::parse(kGood)), "no complaint"); }

TEST(Verify, NamesTheLineAtFault) {
  const std::pair<std::string, std::string> table[] = {
      {replaced("= matmul(%x, %w)", "= matmull(%x, %w)"), "there is no op named 'matmull'"},
      {replaced("%y: fp32[4,8] = matmul(%x, %w)", "%y: fp32[8,4] = matmul(%x, %w)"),
       "%y: fp32[8,4] = matmul(%x, %w)   # layer: result 0: stated as fp32[8,4], but the operands "
       "make it fp32[4,8]"},
      {replaced("matmul(%x, %w)", "matmul(%w, %x)"), "operand 1 (b): expected 8 in dimension 0"},
      {replaced("%g2: fp32[8,8] = add", "%g2: fp32[8,8], %g3: fp32[8,8] = add"),
       "expected 1 results, found 2"},
      {replaced("write \"gradient.layer.weight\" %g2", "write \"gradient.other\" %g2"),
       "write \"gradient.other\": there is no persistent input of that name"},
      {replaced("write \"gradient.layer.weight\" %g2", "write \"x\" %y"),
       "write \"x\": there is no persistent input of that name"},
      {replaced("write \"gradient.layer.weight\" %g2", "write \"gradient.layer.weight\" %y"),
       "the input is fp32[8,8], the value written is fp32[4,8]"},
      {replaced("return \"y\" %y", "return \"y\" %y\nreturn \"y\" %g2"), "output \"y\": a second"},
  };
  for (const auto& [text, message] : table) {
    const std::string said = complaint(ir::parse(text));
    EXPECT_NE(said.find(message), std::string::npos) << said << "\nexpected: " << message;
  }
}

struct TierCase {
  const char* name;
  const char*
      body;  // over parameters %d on the device, %h on the host, %f in the file, all fp32[8]
  const char* complaint;
};

class Tiers : public ::testing::TestWithParam<TierCase> {};

TEST_P(Tiers, AreHeld) {
  const std::string text = std::string(
                               "graph g\nparameter %d: fp32[8] \"d\"\n"
                               "parameter %h: fp32[8] @host \"h\"\n"
                               "parameter %f: fp32[8] @file \"f\"\n") +
                           GetParam().body;
  const std::string said = complaint(ir::parse(text));
  EXPECT_NE(said.find(GetParam().complaint), std::string::npos) << said;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Tiers,
    ::testing::Values(
        TierCase{
            "moved_and_computed_on_the_device",
            "%x: fp32[8] = fetch(%f)\n%y: fp32[8] = add(%x, %d)\n%z: fp32[8] @host = store(%y)\n"
            "write \"h\" %z\n",
            "no complaint"},
        TierCase{"computed_on_the_host",
                 "%x: bf16[8] @host = cast(%h) {dtype=\"bf16\"}\n%y: bf16[8] = fetch(%x)\n"
                 "return \"y\" %y\n",
                 "no complaint"},
        TierCase{"an_op_of_the_device", "%x: fp32[8] = add(%h, %d)\n",
                 "%h lies in the host tier; this op takes it on the device"},
        TierCase{"the_host_takes_no_file", "%x: fp32[8] @host = cast(%f) {dtype=\"fp32\"}\n",
                 "%f lies in the file tier"},
        TierCase{"the_host_takes_all", "%n: fp32[] = global_norm(%h, %d)\n",
                 "%d lies in the device tier and another of its tensors in host"},
        TierCase{"a_view_stays", "%x: fp32[2,4] = reshape(%h) {shape=[2,4]}\n",
                 "a view of what lies in the host tier is stated in device"},
        TierCase{"a_fetch_is_to_the_device", "%x: fp32[8] @host = fetch(%f)\n",
                 "a fetch brings it to the device"},
        TierCase{"a_store_is_from_the_device", "%x: fp32[8] @file = store(%h)\n",
                 "a store takes it from the device"},
        TierCase{"a_store_stays_where_it_goes", "%x: fp32[8] @host = store(%d, %f)\n",
                 "the result is stated in the host tier, but the tensor stored into is in file"},
        TierCase{"a_result_is_on_the_device", "return \"h\" %h\n",
                 "result \"h\" lies in the host tier"},
        TierCase{"a_write_is_in_its_tier", "write \"h\" %d\n",
                 "write \"h\": the input lies in the host tier, the value in device"},
        TierCase{"elements_beyond_the_end", "%x: fp32[5] = fetch(%h) {begin=4, end=9}\n",
                 "expected elements [4, 9) of it"},
        TierCase{"untouched_elements_are_read_on",
                 "%x: fp32[4] = fetch(%h) {begin=0, end=4}\n%i: fp32[8] @host = store(%x, %h)\n"
                 "%y: fp32[4] = fetch(%h) {begin=4, end=8}\n"
                 "%j: fp32[8] @host = store(%y, %i) {begin=4}\nwrite \"h\" %j\n",
                 "no complaint"},
        TierCase{"replaced_elements_are_not",
                 "%x: fp32[4] = fetch(%h) {begin=0, end=4}\n%i: fp32[8] @host = store(%x, %h)\n"
                 "%y: fp32[4] = fetch(%h) {begin=3, end=7}\n",
                 "%h is read after a store replaced elements of it"},
        TierCase{"nor_through_a_view",
                 "%v: fp32[2,4] @host = reshape(%h) {shape=[2,4]}\n"
                 "%x: fp32[4] = fetch(%h) {begin=0, end=4}\n%i: fp32[8] @host = store(%x, %h)\n"
                 "%y: fp32[2,4] = fetch(%v)\n",
                 "%v is read after a store replaced elements of it"},
        TierCase{"nor_as_an_output",
                 "%x: fp32[4] = fetch(%h) {begin=0, end=4}\n%i: fp32[8] @host = store(%x, %h)\n"
                 "write \"h\" %h\n",
                 "%h is read after a store replaced elements of it"}),
    [](const auto& test) { return test.param.name; });

TEST(Verify, DataComesOnTheDevice) {
  EXPECT_NE(complaint(ir::parse("graph g\ndata %x: fp32[8] @host \"x\"\n"))
                .find("data is handed over on the device"),
            std::string::npos);
}

// What a pass may do to a graph and the parser never would.
TEST(Verify, CatchesBrokenOrderNamesAndIds) {
  ir::Graph graph = ir::parse(kGood);
  std::swap(graph.nodes()[0], graph.nodes()[1]);
  EXPECT_NE(complaint(graph).find("operand 1 is not defined before its use"), std::string::npos);

  graph = ir::parse(kGood);
  graph.value(graph.nodes()[0].results[0]).name = "x";
  EXPECT_NE(complaint(graph).find("a second value named %x"), std::string::npos);

  graph = ir::parse(kGood);
  graph.nodes()[1].results[0] = graph.nodes()[0].results[0];
  EXPECT_NE(complaint(graph).find("is defined twice"), std::string::npos);

  graph = ir::parse(kGood);
  graph.nodes()[0].operands[0] = 1000;
  EXPECT_NE(complaint(graph).find("matmul node 0: operand 0"), std::string::npos);

  graph = ir::parse(kGood);
  graph.nodes()[0].results[0] = -7;
  EXPECT_NE(complaint(graph).find("not a value of the graph"), std::string::npos);

  graph = ir::parse(kGood);
  graph.outputs()[0].value = 1000;
  EXPECT_NE(complaint(graph).find("output \"y\": its value is not defined"), std::string::npos);
}

}  // namespace
}  // namespace bessemer::ops

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

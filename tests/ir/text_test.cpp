// Graphs as text: print and parse are inverse, mistakes are placed, and no bytes crash the parser.
#include "ir/text.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"

namespace bessemer::ir {
namespace {

// Canonical text with everything the grammar has.
constexpr std::string_view kGraph = R"(graph accumulate
data %tokens: int32[4,128] "tokens"
data %step: int64[] "step"
parameter %embedding.weight: fp32[512,64] @(dp:0, tp:1) "embedding.weight"
gradient %g: fp32[512,64] "gradient.embedding.weight"
optimizer %m: fp32[512,64] @(dp:0) @host "m.embedding.weight"
weight %packed: bf16[512,64] "bf16.embedding.weight"
cache %keys: bf16[1,128,2,16] "cache.0 \"quoted\" \\ back"
%h: bf16[4,128,64] @(dp:0) = embedding(%packed, %tokens) {dtype="bf16"}   # layers.0.embedding
%a: bf16[4,128,64], %lse: fp32[4,2,128] = op(%h, _, %keys) {causal=true, off=false, scale=0.125, site=-3, sizes=[1,-2,3], text="a \"b\" \\ c\nd", whole=1.0}
%nothing: fp32[0] = make() {empty=[], huge=1e+300, none="", tiny=1e-05}
%p: fp32[512,64] @(tp:+) = grad(%a, %tokens)
%kept: fp32[4,2,128] @file = store(%lse)
return "loss" %lse
write "gradient.embedding.weight" %p
)";

std::string complaint(std::string_view text) {
  try {
    parse(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no complaint";
}

TEST(GraphText, ParseAndPrintAreInverse) {
  const Graph graph = parse(kGraph);
  EXPECT_EQ(print(graph), kGraph);
  EXPECT_EQ(graph.name(), "accumulate");
  EXPECT_EQ(graph.inputs().size(), 7u);
  EXPECT_EQ(graph.inputs()[6].name, "cache.0 \"quoted\" \\ back");
  const Node& node = graph.nodes()[1];
  EXPECT_EQ(node.operands[1], kAbsent);
  EXPECT_EQ(node.attributes.boolean("causal"), true);
  EXPECT_EQ(node.attributes.integer("site"), -3);
  EXPECT_EQ(node.attributes.real("scale"), 0.125);
  EXPECT_EQ(node.attributes.text("text"), "a \"b\" \\ c\nd");
  EXPECT_EQ(node.attributes.integers("sizes"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_TRUE(std::holds_alternative<double>(*node.attributes.find("whole")));
  EXPECT_EQ(graph.nodes()[0].label, "layers.0.embedding");
  EXPECT_EQ(graph.value(graph.nodes()[3].results[0]).placement.axes[0].kind,
            AxisPlacement::Kind::partial);
  EXPECT_EQ(graph.tier(graph.inputs()[4].value), Tier::host);
  EXPECT_EQ(graph.tier(graph.nodes()[4].results[0]), Tier::file);
  EXPECT_EQ(graph.tier(graph.inputs()[0].value), Tier::device);
}

TEST(GraphText, AttributesSurvive) {
  const Attribute values[] = {true,
                              false,
                              std::int64_t{0},
                              std::numeric_limits<std::int64_t>::min(),
                              std::numeric_limits<std::int64_t>::max(),
                              0.0,
                              -0.5,
                              1.0 / 3,
                              std::numeric_limits<double>::denorm_min(),
                              std::numeric_limits<double>::max(),
                              HUGE_VAL,
                              -HUGE_VAL,
                              std::string("quote \" back \\ line \n hash # end }"),
                              std::string("\\n"),
                              std::vector<std::int64_t>{},
                              std::vector<std::int64_t>{-1, 2}};
  for (const Attribute& value : values) {
    Graph graph;
    graph.add_node({"op", {}, {}, {{"a", value}}, ""}, {{DType::fp32, {}}});
    const Graph parsed = parse(print(graph));
    EXPECT_EQ(*parsed.nodes()[0].attributes.find("a"), value) << bessemer::to_string(value);
  }
}

TEST(GraphText, HandWrittenTextPrintsCanonically) {
  const Graph graph = parse(
      "# a comment\n\n  graph  g\n\tdata %x :fp32[ 4 , 2 ]\"x\"\n"
      "%y:fp32[4,2]=scale( %x ){ factor = 2.0 }#label with  spaces\n return \"y\" %y");
  EXPECT_EQ(print(graph),
            "graph g\ndata %x: fp32[4,2] \"x\"\n"
            "%y: fp32[4,2] = scale(%x) {factor=2.0}   # label with  spaces\nreturn \"y\" %y\n");
}

TEST(GraphText, MistakesAreNamedWithTheirLine) {
  const std::pair<std::string, std::string> table[] = {
      {"", "line 1: expected 'graph NAME'"},
      {"\n\nparameter %x: fp32[] \"x\"", "line 3, column 10: expected 'graph NAME' first"},
      {"graph g\nfoo %x: fp32[] \"x\"", "line 2, column 4: 'foo' is no item"},
      {"graph g\ndata %x: float[] \"x\"", "line 2, column 15: 'float' is no dtype"},
      {"graph g\ndata %x: fp32[-1] \"x\"", "size -1 is not possible"},
      {"graph g\ndata %x: fp32[9000000000000000000,9] \"x\"", "is not possible"},
      {"graph g\ndata %x: fp32[0,9000000000000000000] \"x\"", "is not possible"},
      {"graph g\ndata %x: fp32[99999999999999999999] \"x\"", "expected an integer"},
      {"graph g\ndata %x: fp32[] \"x", "the text in quotes does not end"},
      {"graph g\ndata %x: fp32[] \"x\"\ndata %y: fp32[] \"x\"", "line 3"},
      {"graph g\ndata %x: fp32[] \"x\"\ndata %x: fp32[] \"y\"", "%x is defined twice"},
      {"graph g\n%y: fp32[] = op(%x)", "line 2, column 19: %x is used before it is defined"},
      {"graph g\n%y: fp32[] = op() {a=}", "'' is no attribute value"},
      {"graph g\n%y: fp32[] = op() {a=1", "expected '}'"},
      {"graph g\n%y: fp32[] = op() {a=1 b=2}", "expected '}'"},
      {"graph g\n%y: fp32[] = op() rest", "unexpected text 'rest'"},
      {"graph g\n%y: fp32[] @(xp:0) = op()", "'xp' is no mesh axis"},
      {"graph g\n%y: fp32[] @disk = op()", "'disk' is no tier; expected host or file"},
      {"graph g\nreturn \"y\" %y", "line 2, column 14: %y is used before it is defined"},
      {"graph g\ngraph h", "'graph' is no item"},
  };
  for (const auto& [text, message] : table) {
    const std::string said = complaint(text);
    EXPECT_NE(said.find(message), std::string::npos) << said << "\nexpected: " << message;
    EXPECT_EQ(said.rfind("line ", 0), 0u) << said;
  }
}

std::string mutated(std::string text, std::uint32_t seed) {
  const CounterRng rng(seed, 0, 0);
  const std::uint32_t changes = 1 + rng.word(0) % 6;
  for (std::uint32_t c = 0; c < changes && !text.empty(); ++c) {
    const std::size_t at = rng.word(4 * c + 1) % text.size();
    const std::size_t length = 1 + rng.word(4 * c + 2) % 9;
    switch (rng.word(4 * c + 3) % 4) {
      case 0: text[at] = static_cast<char>(rng.word(4 * c + 4)); break;
      case 1: text.erase(at, length); break;
      case 2: text.insert(at, text.substr(rng.word(4 * c + 4) % text.size(), length)); break;
      default: text.resize(at);
    }
  }
  return text;
}

// A mutant is refused with a place, or is a graph whose text is stable.
TEST(GraphText, SurvivesAnyBytes) {
  int accepted = 0;
  for (std::uint32_t seed = 0; seed < 5000; ++seed) {
    const std::string text = mutated(std::string(kGraph), seed);
    try {
      const std::string printed = print(parse(text));
      EXPECT_EQ(print(parse(printed)), printed) << text;
      ++accepted;
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("line ", 0), 0u) << error.what();
    }
  }
  EXPECT_GT(accepted, 100) << "mutations too coarse to test what is accepted";
}

}  // namespace
}  // namespace bessemer::ir

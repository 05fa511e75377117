// The table of ops as a whole: what every definition must have, and the document that names it.
#include <fstream>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/builder.h"
#include "ops/cases.h"

namespace bessemer::testing {
namespace {

std::string document() {
  std::ifstream file(BESSEMER_SOURCE_DIR "/docs/ops.md");
  EXPECT_TRUE(file.is_open());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(OpTable, EveryOpIsWholeAndDocumented) {
  const std::string text = document();
  std::set<std::string_view> names;
  for (const ops::OpDefinition& op : ops::all_ops()) {
    SCOPED_TRACE(op.name);
    EXPECT_TRUE(names.insert(op.name).second) << "stands twice";
    EXPECT_EQ(ops::find_definition(op.name), &op);
    EXPECT_NE(op.infer, nullptr);
    EXPECT_NE(op.work, nullptr);
    ASSERT_FALSE(op.candidates.empty());
    EXPECT_EQ(op.candidates.back().name, "reference");
    for (const auto& candidate : op.candidates) EXPECT_NE(candidate.prepare, nullptr);
    EXPECT_NE(text.find("`" + std::string(op.name) + "`"), std::string::npos)
        << "not in docs/ops.md";
  }
}

TEST(OpTable, EveryOpHasACase) {
  std::set<std::string> with_case;
  for (const OpCase& use : all_cases()) with_case.insert(use.op);
  for (const ops::OpDefinition& op : ops::all_ops()) {
    EXPECT_TRUE(with_case.contains(std::string(op.name))) << op.name;
  }
}

TEST(OpTable, UnknownOpsAreNamed) {
  EXPECT_EQ(ops::find_definition("matmull"), nullptr);
  try {
    ops::definition_of("matmull");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("matmull"), std::string::npos);
  }
}

// One graph with every case in it survives printing and parsing, and verifies.
TEST(OpTable, EveryCasePrintsParsesAndVerifies) {
  ir::Graph graph("every_op");
  ops::Builder builder(graph);
  int number = 0;
  for (const OpCase& use : all_cases()) {
    std::vector<ir::ValueId> operands;
    for (const auto& operand : use.operands(DType::fp32)) {
      operands.push_back(
          operand ? graph.add_input(ir::Role::data, fmt::format("x.{}", number++), operand->type())
                  : ir::kAbsent);
    }
    builder.set_label("case." + use.op);
    builder.add(use.op, operands, use.attributes);
  }
  const std::string text = ir::print(graph);
  const ir::Graph parsed = ir::parse(text);
  EXPECT_EQ(ir::print(parsed), text);
  ops::verify(graph);
  ops::verify(parsed);
}

// in_place pairs name an operand and a result that exist.
TEST(OpTable, InPlacePairsExist) {
  for (const OpCase& use : all_cases()) {
    const Operands operands = use.operands(DType::fp32);
    const auto results = infer_types(use.op, operands, use.attributes);
    for (const auto& [operand, result] : ops::definition_of(use.op).in_place) {
      EXPECT_GE(operand, 0);
      if (operand >= static_cast<int>(operands.size())) continue;  // optional, or one of many
      EXPECT_LT(result, static_cast<int>(results.size())) << use.op;
    }
  }
}

}  // namespace
}  // namespace bessemer::testing

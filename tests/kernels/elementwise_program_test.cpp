#include "kernels/elementwise_program.h"

#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace bessemer::kernels {
namespace {

TEST(ElementwiseProgram, ParsesEveryInstructionAndPrintsItBack) {
  const std::string text =
      "t0 = add x0 x1; t1 = subtract t0 2.5; t2 = multiply t1 x0; t3 = scale t2 -0.125; "
      "t4 = gelu_tanh t3; t5 = gelu t4; t6 = silu t5; t7 = gelu_tanh_grad t6 x0; "
      "t8 = gelu_grad t7 x0; t9 = silu_grad t8 x1; t10 = round_bf16 t9; t11 = round_fp16 t10; "
      "t12 = round_fp32 t11; t13 = round_fp64 t12; return t13 t0 x1";
  const ElementwiseProgram program = parse_elementwise_program(text, 2);
  EXPECT_EQ(to_string(program), text);
  EXPECT_EQ(parse_elementwise_program(to_string(program), 2), program);
  ASSERT_EQ(program.instructions.size(), 14u);
  EXPECT_EQ(program.instructions[1].operands[1], ElementwiseOperand::constant(2.5));
  EXPECT_EQ(program.instructions[10].op, ElementwiseOp::round);
  EXPECT_EQ(program.instructions[10].dtype, DType::bf16);
  EXPECT_EQ(program.returns[2], ElementwiseOperand::input(1));
}

TEST(ElementwiseProgram, BlanksDoNotMatter) {
  EXPECT_EQ(parse_elementwise_program("\n t0 =  add\tx0 1 ;;return  t0 ; ", 1),
            parse_elementwise_program("t0 = add x0 1.0; return t0", 1));
}

TEST(ElementwiseProgram, RefusesWithAReason) {
  struct Case {
    const char* text;
    int inputs;
    const char* reason;
  };
  for (const Case& c : {
           Case{"t0 = frobnicate x0; return t0", 1, "unknown instruction 'frobnicate'"},
           Case{"t0 = round x0; return t0", 1, "unknown instruction 'round'"},
           Case{"t0 = round_bf17 x0; return t0", 1, "no known dtype"},
           Case{"t0 = round_int32 x0; return t0", 1, "expected fp64, fp32, bf16 or fp16"},
           Case{"t0 = add x0; return t0", 1, "has 1 operands, expected 2"},
           Case{"t0 = silu x0 x0; return t0", 1, "has 2 operands, expected 1"},
           Case{"t0 = add x0 t0; return t0", 1, "reads t0 before it is defined"},
           Case{"t0 = add x0 t1; t1 = silu x0; return t1", 1, "reads t1 before it is defined"},
           Case{"t0 = silu x1; return t0", 1, "reads x1, but the node has 1 operands"},
           Case{"t1 = silu x0; return t1", 1, "defines 't1', expected t0"},
           Case{"t0 = silu x0; t0 = silu x0; return t0", 1, "defines 't0', expected t1"},
           Case{"t0 = scale x0 x1; return t0", 2, "must be a number"},
           Case{"t0 = add x0 y; return t0", 1, "no operand"},
           Case{"t0 = add x0 x; return t0", 1, "no operand"},
           Case{"t0 = add x0 x-1; return t0", 1, "no operand"},
           Case{"t0 = add x0 x99999999999; return t0", 1, "no operand"},
           Case{"t0 = add x0 1.5e; return t0", 1, "no operand"},
           Case{"t0 silu x0; return t0", 1, "no instruction"},
           Case{"t0 =; return t0", 1, "no instruction"},
           Case{"t0 = silu x0", 1, "no return"},
           Case{"", 1, "no return"},
           Case{"t0 = silu x0; return", 1, "names no value"},
           Case{"t0 = silu x0; return t1", 1, "before it is defined"},
           Case{"return 1.0", 1, "names the number"},
           Case{"return x0; t0 = silu x0", 1, "after the return"},
           Case{"return x0; return x0", 1, "after the return"},
       }) {
    try {
      parse_elementwise_program(c.text, c.inputs);
      FAIL() << c.text << " was accepted";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(c.reason), std::string::npos)
          << c.text << ": " << error.what();
    }
  }
}

}  // namespace
}  // namespace bessemer::kernels

// The program of a `fused` node: element-wise instructions in SSA form, one a line of
//
//   t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2
//
// Operands: `xI`, the node's operand I (of the result's shape, or a suffix of it, or a scalar:
// element i of the result meets element i mod size of the operand); `tI`, what instruction I
// defined; or a number. Values between are in S (fp64 for fp64, else fp32). `round_bf16 t0` rounds
// to that dtype and back, so that fusing keeps the numbers of the chain that stored. `return` names
// one value a result.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace bessemer::kernels {

enum class ElementwiseOp : std::uint8_t {
  add,             // a + b
  subtract,        // a - b
  multiply,        // a * b
  scale,           // a * number
  gelu_tanh,       // 0.5 a (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3)))
  gelu,            // 0.5 a (1 + erf(a / sqrt(2)))
  silu,            // a / (1 + exp(-a))
  gelu_tanh_grad,  // (dy, x) -> dy * gelu_tanh'(x)
  gelu_grad,       // (dy, x) -> dy * gelu'(x)
  silu_grad,       // (dy, x) -> dy * silu'(x)
  round,           // a rounded to `dtype` and back
};

/// "add", "gelu_tanh_grad", "round", ...
std::string_view name_of(ElementwiseOp op);

/// Operands an instruction takes: 1 or 2.
int arity_of(ElementwiseOp op);

struct ElementwiseOperand {
  enum class Kind : std::uint8_t { input, temporary, number };
  Kind kind = Kind::number;
  int index = 0;      // of the input or temporary
  double number = 0;  // where kind is number

  static ElementwiseOperand input(int i) { return {Kind::input, i, 0}; }
  static ElementwiseOperand temporary(int i) { return {Kind::temporary, i, 0}; }
  static ElementwiseOperand constant(double value) { return {Kind::number, 0, value}; }
  bool operator==(const ElementwiseOperand&) const = default;
};

/// Instruction number i of a program defines temporary i.
struct ElementwiseInstruction {
  ElementwiseOp op = ElementwiseOp::add;
  std::array<ElementwiseOperand, 2> operands{};  // the first arity_of(op) count
  DType dtype = DType::fp32;                     // of `round`; fp32 for all others

  bool operator==(const ElementwiseInstruction&) const = default;
};

struct ElementwiseProgram {
  std::vector<ElementwiseInstruction> instructions;
  std::vector<ElementwiseOperand> returns;  // inputs or temporaries, at least one

  bool operator==(const ElementwiseProgram&) const = default;
};

/// InputError, naming the instruction, for an unknown name, a wrong number of operands, a use
/// before the definition, an input beyond `inputs`, a definition that is not the next temporary, a
/// factor of `scale` that is not a number, a missing `return` or anything after it.
ElementwiseProgram parse_elementwise_program(std::string_view text, int inputs);

/// The same checks for a program built in code.
void check_elementwise_program(const ElementwiseProgram& program, int inputs);

/// The canonical text; parses back to an equal program.
std::string to_string(const ElementwiseProgram& program);

}  // namespace bessemer::kernels

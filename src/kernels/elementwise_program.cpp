#include "kernels/elementwise_program.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/attributes.h"
#include "base/error.h"

namespace bessemer::kernels {
namespace {

using Kind = ElementwiseOperand::Kind;

struct Row {
  ElementwiseOp op;
  std::string_view name;
  int arity;
};

constexpr std::array<Row, 11> kTable{{
    {ElementwiseOp::add, "add", 2},
    {ElementwiseOp::subtract, "subtract", 2},
    {ElementwiseOp::multiply, "multiply", 2},
    {ElementwiseOp::scale, "scale", 2},
    {ElementwiseOp::gelu_tanh, "gelu_tanh", 1},
    {ElementwiseOp::gelu, "gelu", 1},
    {ElementwiseOp::silu, "silu", 1},
    {ElementwiseOp::gelu_tanh_grad, "gelu_tanh_grad", 2},
    {ElementwiseOp::gelu_grad, "gelu_grad", 2},
    {ElementwiseOp::silu_grad, "silu_grad", 2},
    {ElementwiseOp::round, "round", 1},
}};

const Row& row_of(ElementwiseOp op) { return kTable[static_cast<std::size_t>(op)]; }

bool can_round_to(DType dtype) {
  return dtype == DType::fp64 || dtype == DType::fp32 || dtype == DType::bf16 ||
         dtype == DType::fp16;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(separators);
    if (const std::string_view part = trim(text.substr(0, end)); !part.empty()) {
      parts.push_back(part);
    }
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return parts;
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ElementwiseOperand parse_operand(std::string_view token, std::string_view statement) {
  if (token.front() == 'x' || token.front() == 't') {
    const auto index = parse_number<int>(token.substr(1));
    require_input(index && *index >= 0, "fused program: '{}' in '{}' is no operand", token,
                  statement);
    return token.front() == 'x' ? ElementwiseOperand::input(*index)
                                : ElementwiseOperand::temporary(*index);
  }
  const auto number = parse_number<double>(token);
  require_input(number.has_value(),
                "fused program: '{}' in '{}' is no operand; expected xI, tI or a number", token,
                statement);
  return ElementwiseOperand::constant(*number);
}

std::string known_names() {
  std::vector<std::string_view> names;
  for (const Row& row : kTable) names.push_back(row.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Sets op and dtype from "add" or "round_bf16".
void parse_name(std::string_view name, ElementwiseInstruction& instruction,
                std::string_view statement) {
  constexpr std::string_view prefix = "round_";
  if (name.starts_with(prefix)) {
    const auto dtype = parse_dtype(name.substr(prefix.size()));
    require_input(dtype.has_value(), "fused program: '{}' rounds to no known dtype", statement);
    instruction.op = ElementwiseOp::round;
    instruction.dtype = *dtype;
    return;
  }
  for (const Row& row : kTable) {
    if (row.name == name && row.op != ElementwiseOp::round) {
      instruction.op = row.op;
      return;
    }
  }
  fail_input("fused program: unknown instruction '{}' in '{}'; known are {} (round_DTYPE)", name,
             statement, known_names());
}

ElementwiseInstruction parse_instruction(std::string_view statement, std::size_t position) {
  const std::vector<std::string_view> words = split(statement, " \t\r\n");
  require_input(words.size() >= 3 && words[1] == "=",
                "fused program: '{}' is no instruction; expected 'tI = name operands'", statement);
  require_input(words[0] == fmt::format("t{}", position),
                "fused program: '{}' defines '{}', expected t{}", statement, words[0], position);
  ElementwiseInstruction instruction;
  parse_name(words[2], instruction, statement);
  const auto arity = static_cast<std::size_t>(arity_of(instruction.op));
  require_input(words.size() - 3 == arity, "fused program: '{}' has {} operands, expected {}",
                statement, words.size() - 3, arity);
  for (std::size_t i = 0; i < arity; ++i) {
    instruction.operands[i] = parse_operand(words[3 + i], statement);
  }
  return instruction;
}

std::string text_of(const ElementwiseOperand& operand) {
  switch (operand.kind) {
    case Kind::input: return fmt::format("x{}", operand.index);
    case Kind::temporary: return fmt::format("t{}", operand.index);
    case Kind::number: return bessemer::to_string(Attribute(operand.number));
  }
  fail("fused program: operand of unknown kind");
}

std::string text_of(const ElementwiseInstruction& instruction, std::size_t position) {
  std::string text = fmt::format("t{} = {}", position, name_of(instruction.op));
  if (instruction.op == ElementwiseOp::round) {
    text += fmt::format("_{}", bessemer::name_of(instruction.dtype));
  }
  for (int i = 0; i < arity_of(instruction.op); ++i) {
    text += fmt::format(" {}", text_of(instruction.operands[static_cast<std::size_t>(i)]));
  }
  return text;
}

void check_operand(const ElementwiseOperand& operand, int inputs, std::size_t defined,
                   std::string_view statement) {
  if (operand.kind == Kind::input) {
    require_input(operand.index >= 0 && operand.index < inputs,
                  "fused program: '{}' reads x{}, but the node has {} operands", statement,
                  operand.index, inputs);
  } else if (operand.kind == Kind::temporary) {
    require_input(operand.index >= 0 && static_cast<std::size_t>(operand.index) < defined,
                  "fused program: '{}' reads t{} before it is defined", statement, operand.index);
  }
}

}  // namespace

std::string_view name_of(ElementwiseOp op) { return row_of(op).name; }
int arity_of(ElementwiseOp op) { return row_of(op).arity; }

ElementwiseProgram parse_elementwise_program(std::string_view text, int inputs) {
  ElementwiseProgram program;
  for (const std::string_view statement : split(text, ";")) {
    require_input(program.returns.empty(), "fused program: '{}' stands after the return",
                  statement);
    const std::vector<std::string_view> words = split(statement, " \t\r\n");
    if (words[0] != "return") {
      program.instructions.push_back(parse_instruction(statement, program.instructions.size()));
      continue;
    }
    require_input(words.size() > 1, "fused program: the return names no value");
    for (std::size_t i = 1; i < words.size(); ++i) {
      program.returns.push_back(parse_operand(words[i], statement));
    }
  }
  check_elementwise_program(program, inputs);
  return program;
}

void check_elementwise_program(const ElementwiseProgram& program, int inputs) {
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const ElementwiseInstruction& instruction = program.instructions[i];
    const std::string statement = text_of(instruction, i);
    for (int o = 0; o < arity_of(instruction.op); ++o) {
      check_operand(instruction.operands[static_cast<std::size_t>(o)], inputs, i, statement);
    }
    require_input(
        instruction.op != ElementwiseOp::scale || instruction.operands[1].kind == Kind::number,
        "fused program: '{}': the factor of scale must be a number", statement);
    require_input(can_round_to(instruction.dtype),
                  "fused program: '{}': expected fp64, fp32, bf16 or fp16", statement);
  }
  require_input(!program.returns.empty(), "fused program: no return");
  for (const ElementwiseOperand& value : program.returns) {
    require_input(value.kind != Kind::number, "fused program: the return names the number {}",
                  value.number);
    check_operand(value, inputs, program.instructions.size(), "return");
  }
}

std::string to_string(const ElementwiseProgram& program) {
  std::string text;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    text += fmt::format("{}; ", text_of(program.instructions[i], i));
  }
  text += "return";
  for (const ElementwiseOperand& value : program.returns)
    text += fmt::format(" {}", text_of(value));
  return text;
}

}  // namespace bessemer::kernels

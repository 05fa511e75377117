#include "base/error.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/program.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

double apply(const ElementwiseInstruction& instruction, double a, double b) {
  switch (instruction.op) {
    case ElementwiseOp::add: return a + b;
    case ElementwiseOp::subtract: return a - b;
    case ElementwiseOp::multiply:
    case ElementwiseOp::scale: return a * b;
    case ElementwiseOp::gelu_tanh: return gelu_tanh(a);
    case ElementwiseOp::gelu: return gelu_exact(a);
    case ElementwiseOp::silu: return silu_value(a);
    case ElementwiseOp::gelu_tanh_grad: return a * gelu_tanh_derivative(b);
    case ElementwiseOp::gelu_grad: return a * gelu_exact_derivative(b);
    case ElementwiseOp::silu_grad: return a * silu_derivative(b);
    case ElementwiseOp::round: return round_to(instruction.dtype, a);
  }
  fail("fused program: unknown instruction");
}

}  // namespace

std::vector<Doubles> run_program(const ElementwiseProgram& program,
                                 const std::vector<Doubles>& inputs) {
  std::vector<Doubles> results(program.returns.size(), Doubles(inputs[0].size()));
  Doubles temporaries(program.instructions.size());
  for (std::size_t e = 0; e < inputs[0].size(); ++e) {
    const auto value_of = [&](const ElementwiseOperand& operand) {
      const auto index = static_cast<std::size_t>(operand.index);
      switch (operand.kind) {
        case ElementwiseOperand::Kind::input: return inputs[index][e % inputs[index].size()];
        case ElementwiseOperand::Kind::temporary: return temporaries[index];
        case ElementwiseOperand::Kind::number: break;
      }
      return operand.number;
    };
    for (std::size_t t = 0; t < temporaries.size(); ++t) {
      const ElementwiseInstruction& instruction = program.instructions[t];
      temporaries[t] =
          apply(instruction, value_of(instruction.operands[0]), value_of(instruction.operands[1]));
    }
    for (std::size_t r = 0; r < results.size(); ++r) results[r][e] = value_of(program.returns[r]);
  }
  return results;
}

Prepared fused(const KernelRequest& request) {
  ElementwiseProgram program = parse_elementwise_program(request.attributes.text("program"),
                                                         static_cast<int>(request.operands.size()));
  require(program.returns.size() == request.results.size(),
          "fused program returns {} values for {} results", program.returns.size(),
          request.results.size());
  return make_reference(request, [program = std::move(program)](const Call& call) {
    std::vector<Doubles> inputs;
    for (std::size_t i = 0; i < call.operands(); ++i) inputs.push_back(call.operand(i));
    const std::vector<Doubles> results = run_program(program, inputs);
    for (std::size_t r = 0; r < results.size(); ++r) call.set_result(r, results[r]);
  });
}

}  // namespace bessemer::kernels::reference

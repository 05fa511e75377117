// Element-wise ops: the `fused` program and the single ops, which are programs of a few
// instructions. Here programs are made ready (registers assigned); elementwise_tiles.cpp runs them.
#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/elementwise_tiles.h"
#include "kernels/prepare.h"
#include "kernels/elementwise_ops.h"

namespace bessemer::kernels::cpu {
namespace {

using Kind = ElementwiseOperand::Kind;

/// Assigns registers in program order: an operand or temporary gives its register back after its
/// last use; numbers and scalar operands keep theirs.
class TileCompiler {
 public:
  TileCompiler(const KernelRequest& request, const ElementwiseProgram& program)
      : request_(request), program_(program) {}

  /// Nothing where the program needs more registers than there are.
  std::optional<TileProgram> compile() {
    tiles_.elements = request_.results[0].elements();
    find_last_uses();
    for (std::size_t i = 0; i < request_.operands.size(); ++i) load_operand(static_cast<int>(i));
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) emit(static_cast<int>(i));
    for (std::size_t r = 0; r < program_.returns.size(); ++r) {
      tiles_.results.push_back({register_of(program_.returns[r]), request_.results[r].dtype});
    }
    if (highest_ >= kTileRegisters) return std::nullopt;
    return std::move(tiles_);
  }

 private:
  static constexpr int kNever = -1;
  static constexpr int kToTheEnd = 1 << 30;

  void find_last_uses() {
    input_last_use_.assign(request_.operands.size(), kNever);
    temporary_last_use_.assign(program_.instructions.size(), kNever);
    const auto use = [&](const ElementwiseOperand& operand, int when) {
      const auto index = static_cast<std::size_t>(operand.index);
      if (operand.kind == Kind::input) input_last_use_[index] = when;
      if (operand.kind == Kind::temporary) temporary_last_use_[index] = when;
    };
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) {
      const ElementwiseInstruction& instruction = program_.instructions[i];
      for (int o = 0; o < arity_of(instruction.op); ++o) {
        use(instruction.operands[static_cast<std::size_t>(o)], static_cast<int>(i));
      }
    }
    for (const ElementwiseOperand& value : program_.returns) use(value, kToTheEnd);
    for (std::size_t i = 0; i < request_.operands.size(); ++i) {
      const bool pinned = request_.has_operand(i) && request_.operand(i).elements() == 1;
      if (pinned && input_last_use_[i] != kNever) input_last_use_[i] = kToTheEnd;
    }
  }

  void load_operand(int i) {
    const auto index = static_cast<std::size_t>(i);
    input_register_.push_back(0);
    if (input_last_use_[index] == kNever) return;
    const TensorType& type = request_.operand(index);
    input_register_[index] = take();
    tiles_.inputs.push_back({i, input_register_[index], type.dtype, type.elements()});
  }

  void emit(int position) {
    const ElementwiseInstruction& instruction =
        program_.instructions[static_cast<std::size_t>(position)];
    TileInstruction tile{instruction.op, 0, 0, 0, 1.0f};
    tile.a = register_of(instruction.operands[0]);
    tile.b = tile.a;
    if (instruction.op == ElementwiseOp::scale) {
      tile.number = static_cast<float>(instruction.operands[1].number);
    } else if (arity_of(instruction.op) == 2) {
      tile.b = register_of(instruction.operands[1]);
    }
    // Registers hold fp32, so rounding to fp32 or wider is a multiplication by one.
    if (instruction.op == ElementwiseOp::round && instruction.dtype != DType::bf16) {
      tile.op = ElementwiseOp::scale;
    }
    release_dead(instruction, position);
    tile.out = take();
    temporary_register_.push_back(tile.out);
    // A value that nobody reads frees its register at once.
    if (temporary_last_use_[static_cast<std::size_t>(position)] == kNever) give_back(tile.out);
    tiles_.instructions.push_back(tile);
  }

  void release_dead(const ElementwiseInstruction& instruction, int position) {
    for (int o = 0; o < arity_of(instruction.op); ++o) {
      const ElementwiseOperand& operand = instruction.operands[static_cast<std::size_t>(o)];
      if (operand.kind == Kind::number) continue;
      const auto index = static_cast<std::size_t>(operand.index);
      const bool input = operand.kind == Kind::input;
      const int last = input ? input_last_use_[index] : temporary_last_use_[index];
      if (last == position) give_back(register_of(operand));
    }
  }

  int register_of(const ElementwiseOperand& operand) {
    const auto index = static_cast<std::size_t>(operand.index);
    if (operand.kind == Kind::input) return input_register_[index];
    if (operand.kind == Kind::temporary) return temporary_register_[index];
    // Filled before the first tile, so never a register that another value has in the same tile.
    tiles_.constants.push_back({++highest_, static_cast<float>(operand.number)});
    return highest_;
  }

  int take() {
    if (free_.empty()) return ++highest_;
    const int reg = free_.back();
    free_.pop_back();
    return reg;
  }

  void give_back(int reg) {
    if (std::find(free_.begin(), free_.end(), reg) == free_.end()) free_.push_back(reg);
  }

  const KernelRequest& request_;
  const ElementwiseProgram& program_;
  TileProgram tiles_;
  std::vector<int> input_last_use_, temporary_last_use_;  // instruction, kNever or kToTheEnd
  std::vector<int> input_register_, temporary_register_;
  std::vector<int> free_;
  int highest_ = -1;
};

std::optional<Declined> decline_program(const KernelRequest& request,
                                        const ElementwiseProgram& program) {
  if (auto declined = decline_other_floats(request)) return declined;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    if (request.has_operand(i) && !is_fp32_or_bf16(request.operand(i).dtype)) {
      return Declined{fmt::format("operand {} is {}", i, name_of(request.operand(i).dtype))};
    }
  }
  for (const TensorType& result : request.results) {
    if (!is_fp32_or_bf16(result.dtype)) {
      return Declined{fmt::format("the result is {}", name_of(result.dtype))};
    }
  }
  for (const ElementwiseInstruction& instruction : program.instructions) {
    if (instruction.op == ElementwiseOp::round && instruction.dtype == DType::fp16) {
      return Declined{"rounding to fp16 is not done here"};
    }
  }
  return std::nullopt;
}

Prepared prepare_program(const KernelRequest& request, const ElementwiseProgram& program) {
  if (auto declined = decline_program(request, program)) return *declined;
  std::optional<TileProgram> tiles = TileCompiler(request, program).compile();
  if (!tiles) {
    return Declined{fmt::format("the program keeps more than {} values at once", kTileRegisters)};
  }
  return make_kernel([tiles = std::move(*tiles)](const KernelBuffers& buffers) {
    const std::int64_t count = divide_up(tiles.elements, kTile);
    parallel_for(count, kGrain / kTile, [&](std::int64_t begin, std::int64_t end) {
      run_tile_program(tiles, buffers.operands.data(), buffers.results.data(), begin, end);
    });
  });
}

Prepared prepare_text(const KernelRequest& request, std::string_view program) {
  return prepare_program(
      request, parse_elementwise_program(program, static_cast<int>(request.operands.size())));
}

}  // namespace

Prepared fused(const KernelRequest& request) {
  return prepare_text(request, request.attributes.text("program"));
}

Prepared add(const KernelRequest& request) { return prepare_text(request, elementwise::kAdd); }

Prepared multiply(const KernelRequest& request) {
  return prepare_text(request, elementwise::kMultiply);
}

Prepared scale(const KernelRequest& request) {
  return prepare_text(request, elementwise::scale(request.attributes));
}

Prepared cast(const KernelRequest& request) { return prepare_text(request, elementwise::kCast); }

Prepared gelu(const KernelRequest& request) {
  return prepare_text(request, elementwise::gelu(request.attributes));
}

Prepared gelu_grad(const KernelRequest& request) {
  return prepare_text(request, elementwise::gelu_grad(request.attributes));
}

Prepared silu(const KernelRequest& request) { return prepare_text(request, elementwise::kSilu); }

Prepared silu_grad(const KernelRequest& request) {
  return prepare_text(request, elementwise::kSiluGrad);
}

Prepared swiglu(const KernelRequest& request) {
  return prepare_text(request, elementwise::kSwiglu);
}

}  // namespace bessemer::kernels::cpu

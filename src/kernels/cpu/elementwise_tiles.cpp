// The interpreter of tile programs (elementwise_tiles.h).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise_tiles.cpp"
#include "base/rounding.h"
#include "kernels/cpu/simd_math.h"

#include <hwy/cache_control.h>

#include <algorithm>

#include "kernels/cpu/elementwise_tiles.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

/// `count` elements at `from` to fp32; what fills the last vector is zero.
template <typename T>
void widen(const T* from, float* to, std::int64_t count) {
  for_each_vector(0, count, [&](std::int64_t i, auto access) {
    store(access.load(from + i), to + i);  // `to` is a register: it has room for whole vectors
  });
}

void widen(const void* from, DType dtype, std::int64_t offset, float* to, std::int64_t count) {
  if (dtype == DType::bf16) {
    widen(static_cast<const BFloat16*>(from) + offset, to, count);
  } else {
    widen(static_cast<const float*>(from) + offset, to, count);
  }
}

/// Elements [offset, offset + count) of the endless repetition of an operand of `size` elements.
void widen_repeated(const void* from, DType dtype, std::int64_t size, std::int64_t offset,
                    float* to, std::int64_t count) {
  const std::int64_t start = offset % size;
  std::int64_t filled = std::min(size - start, count);
  // Widened aside, because widening fills whole vectors and could reach beyond the register.
  HWY_ALIGN float head[kTile];
  if (filled < count) {
    const std::int64_t wrapped = std::min(count - filled, size);
    widen(from, dtype, 0, head, wrapped);
    widen(from, dtype, start, to, filled);
    std::memcpy(to + filled, head, static_cast<std::size_t>(wrapped) * sizeof(float));
    filled += wrapped;
  } else {
    widen(from, dtype, start, to, filled);
  }
  // Now a whole period is there; each copy continues it, from `size` elements back.
  while (filled < count) {
    const std::int64_t period = filled / size * size;
    const std::int64_t more = std::min(period, count - filled);
    std::memcpy(to + filled, to + filled - period, static_cast<std::size_t>(more) * sizeof(float));
    filled += more;
  }
  const std::int64_t rounded = round_up(count, lanes());
  std::fill(to + count, to + rounded, 0.0f);
}

template <typename T>
void narrow(const float* from, T* to, std::int64_t count) {
  for_each_vector(0, count,
                  [&](std::int64_t i, auto access) { access.store(load(from + i), to + i); });
}

void narrow(const float* from, void* to, DType dtype, std::int64_t offset, std::int64_t count) {
  if (dtype == DType::bf16) {
    narrow(from, static_cast<BFloat16*>(to) + offset, count);
  } else {
    narrow(from, static_cast<float*>(to) + offset, count);
  }
}

template <typename Function>
void unary(const float* a, float* out, std::int64_t count, const Function& function) {
  const FloatTag d;
  for (std::int64_t i = 0; i < count; i += lanes()) {
    hn::Store(function(hn::Load(d, a + i)), d, out + i);
  }
}

template <typename Function>
void binary(const float* a, const float* b, float* out, std::int64_t count,
            const Function& function) {
  const FloatTag d;
  for (std::int64_t i = 0; i < count; i += lanes()) {
    hn::Store(function(hn::Load(d, a + i), hn::Load(d, b + i)), d, out + i);
  }
}

/// Two cache lines more than a tile: at a multiple of 4096 bytes a store to one register would hold
/// up the load of the same element of another.
constexpr std::int64_t kRegisterSize = kTile + 32;

using Registers = float (*)[kRegisterSize];

void execute(const TileInstruction& instruction, Registers registers, std::int64_t count) {
  float* out = registers[instruction.out];
  const float* a = registers[instruction.a];
  const float* b = registers[instruction.b];
  switch (instruction.op) {
    case ElementwiseOp::add:
      return binary(a, b, out, count, [](auto x, auto y) { return hn::Add(x, y); });
    case ElementwiseOp::subtract:
      return binary(a, b, out, count, [](auto x, auto y) { return hn::Sub(x, y); });
    case ElementwiseOp::multiply:
      return binary(a, b, out, count, [](auto x, auto y) { return hn::Mul(x, y); });
    case ElementwiseOp::scale: {
      const FloatVec factor = splat(instruction.number);
      return unary(a, out, count, [&](auto x) { return hn::Mul(x, factor); });
    }
    case ElementwiseOp::gelu_tanh: return unary(a, out, count, [](auto x) { return gelu_tanh(x); });
    case ElementwiseOp::gelu: return unary(a, out, count, [](auto x) { return gelu(x); });
    case ElementwiseOp::silu: return unary(a, out, count, [](auto x) { return silu(x); });
    case ElementwiseOp::gelu_tanh_grad:
      return binary(a, b, out, count,
                    [](auto dy, auto x) { return hn::Mul(dy, gelu_tanh_slope(x)); });
    case ElementwiseOp::gelu_grad:
      return binary(a, b, out, count, [](auto dy, auto x) { return hn::Mul(dy, gelu_slope(x)); });
    case ElementwiseOp::silu_grad:
      return binary(a, b, out, count, [](auto dy, auto x) { return hn::Mul(dy, silu_slope(x)); });
    case ElementwiseOp::round: return unary(a, out, count, [](auto x) { return round_bf16(x); });
  }
}

/// What does not change from tile to tile.
void fill_pinned(const TileProgram& program, const void* const* operands, Registers registers) {
  for (const TileConstant& constant : program.constants) {
    std::fill_n(registers[constant.reg], kTile, constant.value);
  }
  for (const TileInput& input : program.inputs) {
    if (input.size == 1) {
      widen_repeated(operands[input.operand], input.dtype, 1, 0, registers[input.reg], kTile);
    }
  }
}

/// Asks for the next tile of the streamed operands while this one is worked on: a tile is too short
/// for the processor to see the stream by itself.
void prefetch(const TileProgram& program, const void* const* operands, std::int64_t offset) {
  const std::int64_t count = std::min(kTile, program.elements - offset);
  for (const TileInput& input : program.inputs) {
    if (input.size != program.elements) continue;
    const auto bytes = static_cast<std::int64_t>(size_of(input.dtype));
    const auto* from = static_cast<const std::byte*>(operands[input.operand]) + offset * bytes;
    for (std::int64_t i = 0; i < count * bytes; i += 64) hwy::Prefetch(from + i);
  }
}

void run_tiles(const TileProgram& program, const void* const* operands, void* const* results,
               std::int64_t begin_tile, std::int64_t end_tile) {
  HWY_ALIGN float registers[kTileRegisters][kRegisterSize];
  fill_pinned(program, operands, registers);
  for (std::int64_t tile = begin_tile; tile < end_tile; ++tile) {
    const std::int64_t offset = tile * kTile;
    const std::int64_t count = std::min(kTile, program.elements - offset);
    for (const TileInput& input : program.inputs) {
      if (input.size == 1) continue;
      const void* from = operands[input.operand];
      if (input.size == program.elements) {
        widen(from, input.dtype, offset, registers[input.reg], count);
      } else {
        widen_repeated(from, input.dtype, input.size, offset, registers[input.reg], count);
      }
    }
    if (tile + 1 < end_tile) prefetch(program, operands, offset + kTile);
    for (const TileInstruction& instruction : program.instructions) {
      execute(instruction, registers, count);
    }
    for (std::size_t r = 0; r < program.results.size(); ++r) {
      const TileResult& result = program.results[r];
      narrow(registers[result.reg], results[r], result.dtype, offset, count);
    }
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {

HWY_EXPORT(run_tiles);

void run_tile_program(const TileProgram& program, const void* const* operands, void* const* results,
                      std::int64_t begin_tile, std::int64_t end_tile) {
  HWY_DYNAMIC_DISPATCH(run_tiles)(program, operands, results, begin_tile, end_tile);
}

}  // namespace bessemer::kernels::cpu
#endif

// An element-wise program made ready for tiles: operands loaded, instructions run and results
// stored for kTile elements at a time, on fp32 registers of that length that stay in L1. A chain of
// n instructions so reads each input and writes each result once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "kernels/elementwise_program.h"

namespace bessemer::kernels::cpu {

inline constexpr std::int64_t kTile = 512;
inline constexpr int kTileRegisters = 16;

/// Operand `operand` goes to `reg`. Element i of the result meets element i mod size of it.
struct TileInput {
  int operand;
  int reg;
  DType dtype;  // fp32 or bf16
  std::int64_t size;
};

/// A number that stands in all of `reg`.
struct TileConstant {
  int reg;
  float value;
};

/// reg out = op(reg a, reg b). `number` is the factor of scale; `round` rounds to bf16.
struct TileInstruction {
  ElementwiseOp op;
  int out;
  int a;
  int b;
  float number;
};

/// Register `reg` goes to the result of this index.
struct TileResult {
  int reg;
  DType dtype;  // fp32 or bf16
};

/// Scalars and constants keep their registers to themselves and are filled once a thread; all loads
/// of a tile come before its stores, so a result may share the buffer of any operand of its type.
struct TileProgram {
  std::int64_t elements = 0;
  std::vector<TileInput> inputs;
  std::vector<TileConstant> constants;
  std::vector<TileInstruction> instructions;
  std::vector<TileResult> results;
};

/// Runs tiles [begin_tile, end_tile) of the ceil(elements / kTile) there are. `operands` and
/// `results` are the buffers of the node. Uses only the stack (40 KiB).
void run_tile_program(const TileProgram& program, const void* const* operands, void* const* results,
                      std::int64_t begin_tile, std::int64_t end_tile);

}  // namespace bessemer::kernels::cpu

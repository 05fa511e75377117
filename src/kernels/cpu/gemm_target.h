// The parts of the own matrix product that are compiled once for each instruction set: packing,
// the register-blocked multiplication, and the epilogue. `gemm.cpp` drives them.
//
// Layouts of packed operands, fp32 whatever the source's dtype, padded with zeros to whole tiles:
//
//   b   panels of `columns` columns: [panel][k][columns]
//   a   for each block of kDepthBlock along k, panels of `rows` rows: [block][panel], and inside
//       [rows][kDepthBlock] where the source is contiguous along k (DepthMinor), or
//       [k][rows] where it is contiguous along rows (RowMinor); so a is never transposed.
//   strip  the fp32 sums of some row panels times one column panel: [rows...][columns]
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {

/// Part of k that one pass over a column panel takes: the panel's share then stays in L1.
inline constexpr std::int64_t kDepthBlock = 192;

enum class ALayout : std::uint8_t { depth_minor, row_minor };

/// A matrix in memory: element (i, j) at data[i * row_stride + j * column_stride], one stride 1.
struct MatrixView {
  const void* data = nullptr;
  DType dtype = DType::fp32;  // fp32 or bf16
  std::int64_t row_stride = 0, column_stride = 0;
};

/// Where a finished strip goes. Pointers are to the strip's first element of each matrix; `bias` to
/// its first column. Null: absent. Result and addend have one dtype and one row stride.
struct Epilogue {
  const void* bias = nullptr;
  DType bias_dtype = DType::fp32;
  Activation activation = Activation::none;
  const void* addend = nullptr;
  void* result = nullptr;
  DType dtype = DType::fp32;
  std::int64_t row_stride = 0;
};

struct GemmTarget {
  std::int64_t rows = 0, columns = 0;  // of a register tile

  /// Packs b[k0, k0 + depth) x [column, column + count) as one panel; count <= columns.
  void (*pack_b)(const MatrixView& b, std::int64_t k0, std::int64_t depth, std::int64_t column,
                 std::int64_t count, float* panel);
  /// Packs a[row, row + count) x [k0, k0 + depth), depth <= kDepthBlock, as whole row panels.
  void (*pack_a)(const MatrixView& a, std::int64_t row, std::int64_t count, std::int64_t k0,
                 std::int64_t depth, float* panels);
  /// strip (+)= a panels times one b panel, over `depth` <= kDepthBlock.
  void (*multiply)(const float* a, ALayout layout, std::int64_t panels, const float* b,
                   std::int64_t depth, bool accumulate, float* strip);
  /// Fills rows x count of a strip from fp32 partial sums.
  void (*load)(const float* partial, std::int64_t row_stride, std::int64_t rows, std::int64_t count,
               float* strip);
  void (*finish)(const float* strip, std::int64_t rows, std::int64_t count,
                 const Epilogue& epilogue);
};

/// The best of this machine.
GemmTarget gemm_target();

}  // namespace bessemer::kernels::cpu

// Tensors in 8-bit floating point with scales: the formats of `amax`, `quantize_fp8` and
// `scaled_matmul` (Micikevicius et al., "FP8 formats for deep learning", 2022; blocks as in
// DeepSeek-AI, "DeepSeek-V3 technical report", 2024, section 3.3). Semantics: docs/ops.md.
//
// A tensor is seen as a matrix [rows, columns], all leading dimensions its rows; columns are what a
// product reduces. An element q with scale s stands for q * s. One scale serves
//
//   tensor    all:                      fp32 []
//   1x128     128 columns of one row:   fp32 [columns / 128, rows]
//   128x128   a square:                 fp32 [rows / 128, columns / 128 rounded up to 4]
//
// which is how cuBLASLt reads them (CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F, _VEC128_32F and
// _BLK128x128_32F). What pads the last is 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/attributes.h"
#include "base/dtype.h"
#include "base/rounding.h"
#include "base/tensor_type.h"

namespace bessemer::kernels {

inline constexpr std::int64_t kFp8Block = 128;

/// What shares a scale.
enum class Fp8Block : std::uint8_t { tensor, row, square };

/// "tensor", "1x128", "128x128".
constexpr std::optional<Fp8Block> parse_fp8_block(std::string_view name) {
  if (name == "tensor") return Fp8Block::tensor;
  if (name == "1x128") return Fp8Block::row;
  if (name == "128x128") return Fp8Block::square;
  return std::nullopt;
}

/// The attribute `name`; Error where it is none of them.
Fp8Block fp8_block(const Attributes& attributes, std::string_view name);

/// "e4m3", "e5m2".
constexpr std::optional<DType> parse_fp8_format(std::string_view name) {
  if (name == "e4m3") return DType::fp8_e4m3;
  if (name == "e5m2") return DType::fp8_e5m2;
  return std::nullopt;
}

/// All dimensions but the last as rows.
struct MatrixSize {
  std::int64_t rows, columns;
};
inline MatrixSize matrix_size(const TensorType& type) {
  std::int64_t rows = 1;
  for (std::size_t d = 0; d + 1 < type.shape.size(); ++d) rows *= type.shape[d];
  return {rows, type.shape.back()};
}

inline Shape fp8_scale_shape(Fp8Block block, MatrixSize size) {
  if (block == Fp8Block::row) return {size.columns / kFp8Block, size.rows};
  if (block == Fp8Block::square) {
    return {size.rows / kFp8Block, round_up(size.columns / kFp8Block, std::int64_t{4})};
  }
  return {};
}

/// Of 128 x 128 that meet a matrix, row by row of them.
constexpr std::int64_t fp8_tiles(MatrixSize size) {
  return divide_up(size.rows, kFp8Block) * divide_up(size.columns, kFp8Block);
}

/// Where the scale of element (row, column) lies.
constexpr std::int64_t fp8_scale_index(Fp8Block block, MatrixSize size, std::int64_t row,
                                       std::int64_t column) {
  if (block == Fp8Block::row) return column / kFp8Block * size.rows + row;
  if (block == Fp8Block::square) {
    const std::int64_t width = round_up(size.columns / kFp8Block, std::int64_t{4});
    return row / kFp8Block * width + column / kFp8Block;
  }
  return 0;
}

constexpr float largest_fp8(DType format) {
  return format == DType::fp8_e4m3 ? Fp8E4M3::largest() : Fp8E5M2::largest();
}

/// What a use of `quantize_fp8` asks for, by its attributes, and where its results stand: of each
/// value y? q scale q_t? scale_t? sum?, and after those of all values an amax? of each.
struct QuantizeFp8Use {
  std::string program;  // whose values are quantized; empty: operand 0 is
  Fp8Block block = Fp8Block::tensor;
  bool keep = false, transposed = false, sum = false, measure = false;
  std::vector<std::int64_t> indices;  // into the operand amax, of each value
  float assumed = 0;                  // where that says 0

  /// Error where `block` names none, or `indices` no value.
  explicit QuantizeFp8Use(const Attributes& attributes);

  std::size_t values() const { return indices.size(); }
  bool has_scale_t() const { return transposed && block != Fp8Block::tensor; }
  std::size_t results_each() const {
    return 2 + std::size_t{keep} + std::size_t{transposed} + std::size_t{has_scale_t()} +
           std::size_t{sum};
  }
  /// The value itself, where it is kept.
  std::size_t y(std::size_t value) const { return value * results_each(); }
  std::size_t q(std::size_t value) const { return y(value) + std::size_t{keep}; }
  std::size_t scale(std::size_t value) const { return q(value) + 1; }
  std::size_t q_t(std::size_t value) const { return q(value) + 2; }
  std::size_t scale_t(std::size_t value) const { return q(value) + 3; }
  std::size_t sum_of(std::size_t value) const { return (value + 1) * results_each() - 1; }
  std::size_t amax(std::size_t value) const { return values() * results_each() + value; }
  /// Operands that the program reads, of so many; the last is amax where one scale serves all.
  std::size_t inputs(std::size_t operands) const {
    return operands - (block == Fp8Block::tensor ? 1 : 0);
  }
};

/// What a scale follows: `amax`, or where that is 0, so that nothing is known, what is assumed.
constexpr float known_amax(float amax, float assumed) { return amax == 0.0f ? assumed : amax; }

/// What quantizes and dequantizes numbers up to `amax`. An element is the fp32 product
/// x * inverse, rounded to the format: every kernel gives the same bits. Where amax is not finite,
/// the scale is not either, and so is all that is made with it.
struct Fp8Scale {
  float scale;    // q * scale ~ x
  float inverse;  // 1 / scale, finite
};
constexpr Fp8Scale fp8_scale(float amax, float largest) {
  if (amax == 0.0f) return {1.0f, 1.0f};
  constexpr float kSmallestNormal = 0x1p-126f;
  const float quotient = amax / largest;
  const float scale = quotient < kSmallestNormal ? kSmallestNormal : quotient;
  return {scale, 1.0f / scale};
}

}  // namespace bessemer::kernels

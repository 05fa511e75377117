// Floating-point numbers in 8 bits by blocks with a shared exponent: the format of
// `quantize_blocks` and `dequantize_blocks`. It is MXINT8 of the OCP Microscaling Formats
// specification 1.0 (2023; Rouhani et al., "Microscaling data formats for deep learning", 2023) but
// for where the exponents lie and how they are coded.
//
// A row of n numbers becomes n + ceil(n/32) bytes, all int8: the n elements, then one exponent for
// each block of 32 elements in a row (the last block may be shorter). An element q of a block with
// exponent e stands for q * 2^(e - 6). Scales are powers of two so that quantising and dequantising
// are exact but for one rounding of the element: every kernel on every machine gives the same bits.
//
//   e = max(-120, floor(log2(largest |x| of the block)))
//   q = x * 2^(6 - e), to nearest, ties to even, and then within [-127, 127]
//
// So |x - q * 2^(e-6)| is at most 2^(e-6): 1/64 of the block's largest magnitude; half of that but
// for what is cut down to 127. A block with an infinity, a NaN or a number beyond fp32 has exponent
// -128 and comes back as NaN throughout.
#pragma once

#include <cstdint>

#include "base/rounding.h"

namespace bessemer::kernels {

inline constexpr std::int64_t kQuantizedBlock = 32;
inline constexpr int kQuantizedFraction = 6;  // bits of an element below the exponent
inline constexpr int kLargestQuantized = 127;
inline constexpr int kSmallestExponent =
    -120;                                // so that 2^(6 - e) and 2^(e - 6) are normal in fp32
inline constexpr int kNotFinite = -128;  // as an exponent

/// Bytes of a row of `n` numbers.
constexpr std::int64_t quantized_width(std::int64_t n) { return n + divide_up(n, kQuantizedBlock); }

/// The n with quantized_width(n) == width; -1 where there is none.
constexpr std::int64_t width_before_quantizing(std::int64_t width) {
  const std::int64_t n = width - (width + kQuantizedBlock) / (kQuantizedBlock + 1);
  return n >= 0 && quantized_width(n) == width ? n : -1;
}

}  // namespace bessemer::kernels

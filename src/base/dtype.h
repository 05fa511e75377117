// Element types and the 16-bit and 8-bit floating-point formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bessemer {

enum class DType : std::uint8_t {
  fp64,
  fp32,
  bf16,
  fp16,
  fp8_e4m3,
  fp8_e5m2,
  int8,
  uint8,
  int32,
  int64,
  boolean,
};

/// Bytes of one element.
std::size_t size_of(DType dtype);

/// The name used in graphs, plans and run files: "fp32", "bf16", "int64", "bool", ...
std::string_view name_of(DType dtype);

std::optional<DType> parse_dtype(std::string_view name);

bool is_floating(DType dtype);

inline bool is_fp8(DType dtype) { return dtype == DType::fp8_e4m3 || dtype == DType::fp8_e5m2; }

/// bfloat16: the upper half of an IEEE binary32. Conversion rounds to nearest, ties to even; NaN
/// stays NaN (its quiet bit is set).
struct BFloat16 {
  std::uint16_t bits = 0;

  constexpr BFloat16() = default;
  constexpr explicit BFloat16(float value) : bits(round(value)) {}
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

 private:
  static constexpr std::uint16_t round(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((u >> 16) | 0x40u);
    return static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};

/// IEEE binary16. Conversion rounds to nearest, ties to even, with subnormals.
struct Float16 {
  std::uint16_t bits = 0;

  Float16() = default;
  explicit Float16(float value);
  explicit operator float() const;
};

/// Floating point in 8 bits: a sign, 7 - `mantissa_bits` bits of exponent, `mantissa_bits` of
/// mantissa, with subnormals (Micikevicius et al., "FP8 formats for deep learning", 2022).
/// Conversion rounds to nearest, ties to even, and saturates: what is too large, infinities
/// included, becomes the largest finite number of its sign. NaN becomes 0x7f.
template <int mantissa_bits, int exponent_bias, std::uint8_t largest_finite>
struct Float8 {
  std::uint8_t bits = 0;

  constexpr Float8() = default;
  constexpr explicit Float8(float value) : bits(round(value)) {}
  constexpr explicit operator float() const;

  static constexpr Float8 from_bits(std::uint8_t bits) {
    Float8 value;
    value.bits = bits;
    return value;
  }
  /// The largest finite number.
  static constexpr float largest() { return static_cast<float>(from_bits(largest_finite)); }

 private:
  static constexpr int kShift = 23 - mantissa_bits;  // from a mantissa of binary32 to one of this
  static constexpr std::uint32_t kRebias = std::uint32_t{127 - exponent_bias} << 23;

  static constexpr std::uint8_t round(float value);
};

/// E4M3 without infinities: up to 448, all ones is NaN.
using Fp8E4M3 = Float8<3, 7, 0x7e>;
/// E5M2, like IEEE's formats: up to 57344, infinity, NaN.
using Fp8E5M2 = Float8<2, 15, 0x7b>;

template <int mantissa_bits, int exponent_bias, std::uint8_t largest_finite>
constexpr Float8<mantissa_bits, exponent_bias, largest_finite>::operator float() const {
  constexpr bool kHasInfinity = largest_finite == 0x7b;
  const std::uint32_t sign = (bits & 0x80u) << 24, magnitude = bits & 0x7fu;
  if (magnitude > largest_finite) {
    const bool infinite = kHasInfinity && magnitude == largest_finite + 1u;
    return std::bit_cast<float>(sign | (infinite ? 0x7f800000u : 0x7fc00000u));
  }
  if ((magnitude >> mantissa_bits) != 0) {
    return std::bit_cast<float>(sign | ((magnitude << kShift) + kRebias));
  }
  constexpr auto kSmallest =
      std::bit_cast<float>(std::uint32_t{128 - exponent_bias - mantissa_bits} << 23);
  const float value = static_cast<float>(magnitude) * kSmallest;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

template <int mantissa_bits, int exponent_bias, std::uint8_t largest_finite>
constexpr std::uint8_t Float8<mantissa_bits, exponent_bias, largest_finite>::round(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (u >> 24) & 0x80u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7f;
  std::uint32_t rounded = 0;
  if (magnitude < kRebias + (1u << 23)) {  // subnormal; the adder does the rounding
    constexpr std::uint32_t kUnit = std::uint32_t{128 - exponent_bias - mantissa_bits + 23} << 23;
    const float shifted = std::bit_cast<float>(magnitude) + std::bit_cast<float>(kUnit);
    rounded = std::bit_cast<std::uint32_t>(shifted) - kUnit;
  } else {
    const std::uint32_t odd = (magnitude >> kShift) & 1u;
    rounded = (magnitude - kRebias + (1u << (kShift - 1)) - 1u + odd) >> kShift;
  }
  return static_cast<std::uint8_t>(sign | (rounded < largest_finite ? rounded : largest_finite));
}

}  // namespace bessemer

// Element types and the 16-bit floating-point formats.
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
  fp8_e4m3,  // named so that types can carry them; no kernel takes them yet
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

}  // namespace bessemer

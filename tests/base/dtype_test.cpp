#include "base/dtype.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace bessemer {
namespace {

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DType::boolean); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(name_of(dtype)), dtype);
  }
  EXPECT_EQ(parse_dtype("float32"), std::nullopt);
}

// Nearest representable neighbour, ties to even, checked against the two candidates around x.
template <typename Half>
void expect_nearest(float x) {
  const Half rounded(x);
  const auto value = static_cast<float>(rounded);
  for (const int step : {-1, 1}) {
    Half neighbour = rounded;
    neighbour.bits = static_cast<std::uint16_t>(neighbour.bits + step);
    const auto other = static_cast<float>(neighbour);
    if (!std::isfinite(other) || std::signbit(other) != std::signbit(value)) continue;
    const double here = std::abs(static_cast<double>(x) - value);
    const double there = std::abs(static_cast<double>(x) - other);
    EXPECT_LE(here, there) << x;
    if (here == there) {
      EXPECT_EQ(rounded.bits & 1, 0) << x << " is a tie";
    }
  }
}

TEST(BFloat16, EveryPatternRoundTripsAndRoundingIsNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    BFloat16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(wide))));
    } else {
      EXPECT_EQ(BFloat16(wide).bits, bits);
    }
  }
  for (int i = 0; i < 10000; ++i) {
    expect_nearest<BFloat16>(std::ldexp(1.0f + static_cast<float>(i) / 4096, i % 40 - 20));
  }
}

TEST(Float16, EveryPatternRoundTripsAndRoundingIsNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    Float16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(Float16(wide))));
    } else {
      EXPECT_EQ(Float16(wide).bits, bits);
    }
  }
  for (int i = 0; i < 20000; ++i) {
    expect_nearest<Float16>(std::ldexp(1.0f + static_cast<float>(i) / 8192, i % 38 - 24));
  }
  EXPECT_TRUE(std::isinf(static_cast<float>(Float16(65520.0f))));
  EXPECT_EQ(static_cast<float>(Float16(65519.0f)), 65504.0f);
}

// The value of a code by the definition of its format, in exact arithmetic.
double value_of_code(int code, int mantissa_bits, int bias, int largest_finite) {
  const int magnitude = code & 0x7f;
  const double sign = code & 0x80 ? -1 : 1;
  if (magnitude > largest_finite) {
    const bool infinite = bias == 15 && magnitude == 0x7c;
    return infinite ? sign * INFINITY : std::nan("");
  }
  const int exponent = magnitude >> mantissa_bits;
  const int mantissa = magnitude & ((1 << mantissa_bits) - 1);
  const double significand =
      mantissa / static_cast<double>(1 << mantissa_bits) + (exponent == 0 ? 0 : 1);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

// The code of the finite value nearest to x, the even one of two, by trying all.
template <typename Float8>
int nearest_code(float x) {
  int best = 0;
  double least = INFINITY;
  for (int code = 0; code < 0x80; ++code) {
    const double value = static_cast<float>(Float8::from_bits(static_cast<std::uint8_t>(code)));
    if (!std::isfinite(value)) continue;
    const double distance = std::abs(std::min<double>(std::abs(x), 1e6) - value);
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
    least = std::min(least, distance);
  }
  return best | (std::signbit(x) ? 0x80 : 0);
}

template <typename Float8>
void expect_rounding(float x) {
  EXPECT_EQ(int{Float8(x).bits}, nearest_code<Float8>(x)) << x;
}

template <typename Float8>
void check_float8(int mantissa_bits, int bias, int largest_finite) {
  for (int code = 0; code < 256; ++code) {
    const auto value = static_cast<float>(Float8::from_bits(static_cast<std::uint8_t>(code)));
    const double expected = value_of_code(code, mantissa_bits, bias, largest_finite);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_EQ(Float8(value).bits, 0x7f) << code;
      continue;
    }
    EXPECT_EQ(value, expected) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
    if (std::isfinite(value)) {
      EXPECT_EQ(Float8(value).bits, code);
    }
    // The middle between this and the next, and its neighbours: ties and what is next to them.
    const double next = value_of_code(code + 1, mantissa_bits, bias, largest_finite);
    if (code % 0x80 >= largest_finite) continue;
    const auto middle = static_cast<float>((value + next) / 2);
    for (const float x :
         {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, next > 0 ? 1e9f : -1e9f)}) {
      expect_rounding<Float8>(x);
    }
  }
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    BFloat16 x;
    x.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(x);
    if (!std::isnan(wide)) expect_rounding<Float8>(wide);
  }
  for (const float sign : {1.0f, -1.0f}) {
    const float largest = sign * Float8::largest();
    for (const float x : {sign * INFINITY, sign * 1e30f, 1.5f * largest}) {
      EXPECT_EQ(static_cast<float>(Float8(x)), largest) << x << " saturates";
    }
  }
}

TEST(Float8, E4M3IsItsDefinitionAndRoundsToNearestEven) {
  check_float8<Fp8E4M3>(3, 7, 0x7e);
  static_assert(Fp8E4M3::largest() == 448);
}

TEST(Float8, E5M2IsItsDefinitionAndRoundsToNearestEven) {
  check_float8<Fp8E5M2>(2, 15, 0x7b);
  static_assert(Fp8E5M2::largest() == 57344);
}

}  // namespace
}  // namespace bessemer

#include "base/dtype.h"

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

}  // namespace
}  // namespace bessemer

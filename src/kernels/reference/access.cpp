#include "kernels/reference/access.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace bessemer::kernels::reference {
namespace {

// Rounds to fp32 towards odd: the last bit is set where anything was lost. A later rounding to a
// format with at least two bits less is then the same as rounding `value` once (Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
float round_to_odd(double value) {
  auto nearest = static_cast<float>(value);
  if (std::isnan(value) || std::isinf(value) || static_cast<double>(nearest) == value) {
    return nearest;
  }
  if (std::abs(static_cast<double>(nearest)) > std::abs(value)) {
    nearest = std::nextafter(nearest, 0.0f);
  }
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(nearest) | 1u);
}

template <typename Stored>
double widen(Stored value) {
  return static_cast<double>(value);
}
double widen(BFloat16 value) { return static_cast<float>(value); }
double widen(Float16 value) { return static_cast<float>(value); }
double widen(Fp8E4M3 value) { return static_cast<float>(value); }
double widen(Fp8E5M2 value) { return static_cast<float>(value); }

// The largest and the smallest int64 are no doubles, hence the comparison before the conversion.
template <typename Integer>
Integer saturate(double value) {
  if (std::isnan(value)) return 0;
  const double limit = std::ldexp(1.0, std::numeric_limits<Integer>::digits);
  if (value >= limit) return std::numeric_limits<Integer>::max();
  if (value <= (std::is_signed_v<Integer> ? -limit : 0.0)) {
    return std::numeric_limits<Integer>::min();
  }
  return static_cast<Integer>(value);
}

template <typename Stored>
Stored narrow(double value) {
  if constexpr (std::is_same_v<Stored, BFloat16> || std::is_same_v<Stored, Float16> ||
                std::is_same_v<Stored, Fp8E4M3> || std::is_same_v<Stored, Fp8E5M2>) {
    return Stored(round_to_odd(value));
  } else if constexpr (std::is_same_v<Stored, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<Stored>) {
    return saturate<Stored>(value);
  } else {
    return static_cast<Stored>(value);
  }
}

/// Calls `use` with a value of the C++ type that stores `dtype`.
template <typename Use>
auto with_type(DType dtype, const Use& use) {
  switch (dtype) {
    case DType::fp64: return use(double{});
    case DType::fp32: return use(float{});
    case DType::bf16: return use(BFloat16{});
    case DType::fp16: return use(Float16{});
    case DType::int8: return use(std::int8_t{});
    case DType::uint8: return use(std::uint8_t{});
    case DType::int32: return use(std::int32_t{});
    case DType::int64: return use(std::int64_t{});
    case DType::boolean: return use(bool{});
    case DType::fp8_e4m3: return use(Fp8E4M3{});
    case DType::fp8_e5m2: return use(Fp8E5M2{});
  }
  fail("unknown dtype {}", static_cast<int>(dtype));
}

}  // namespace

double round_to(DType dtype, double value) {
  return with_type(dtype, [&](auto zero) { return widen(narrow<decltype(zero)>(value)); });
}

Doubles rounded(Doubles values, DType dtype) {
  for (double& element : values) element = round_to(dtype, element);
  return values;
}

double largest_magnitude(const Doubles& values) {
  double largest = 0;
  for (const double value : values) {
    if (std::isnan(value)) return value;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

Doubles load(const TensorType& type, const void* buffer) {
  return with_type(type.dtype, [&](auto zero) {
    const auto* values = static_cast<const decltype(zero)*>(buffer);
    Doubles result(static_cast<std::size_t>(type.elements()));
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = widen(values[i]);
    return result;
  });
}

void store(const TensorType& type, void* buffer, const Doubles& values) {
  require(static_cast<std::int64_t>(values.size()) == type.elements(), "{} values for {}",
          values.size(), to_string(type));
  with_type(type.dtype, [&](auto zero) {
    auto* out = static_cast<decltype(zero)*>(buffer);
    std::transform(values.begin(), values.end(), out, narrow<decltype(zero)>);
  });
}

}  // namespace bessemer::kernels::reference

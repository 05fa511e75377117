#include "kernels/element_bytes.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace bessemer::kernels {
namespace {

template <typename Integer>
Integer to_integer(double value) {
  if (std::isnan(value)) return 0;
  if (value <= static_cast<double>(std::numeric_limits<Integer>::min())) {
    return std::numeric_limits<Integer>::min();
  }
  if (value >= static_cast<double>(std::numeric_limits<Integer>::max())) {
    return std::numeric_limits<Integer>::max();
  }
  return static_cast<Integer>(value);
}

template <typename T>
ElementBytes bytes_of(T value) {
  ElementBytes bytes{};
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

}  // namespace

ElementBytes element_bytes(DType dtype, double value) {
  switch (dtype) {
    case DType::fp64: return bytes_of(value);
    case DType::fp32: return bytes_of(static_cast<float>(value));
    case DType::bf16: return bytes_of(BFloat16(static_cast<float>(value)).bits);
    case DType::fp16: return bytes_of(Float16(static_cast<float>(value)).bits);
    case DType::int8: return bytes_of(to_integer<std::int8_t>(value));
    case DType::uint8: return bytes_of(to_integer<std::uint8_t>(value));
    case DType::int32: return bytes_of(to_integer<std::int32_t>(value));
    case DType::int64: return bytes_of(to_integer<std::int64_t>(value));
    case DType::boolean: return bytes_of(static_cast<std::uint8_t>(value != 0));
    case DType::fp8_e4m3: return bytes_of(Fp8E4M3(static_cast<float>(value)).bits);
    case DType::fp8_e5m2: return bytes_of(Fp8E5M2(static_cast<float>(value)).bits);
  }
  fail("unknown dtype {}", static_cast<int>(dtype));
}

}  // namespace bessemer::kernels

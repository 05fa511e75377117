// The names of element types in safetensors headers.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/dtype.h"

namespace bessemer::checkpoint {

inline constexpr std::array<std::pair<std::string_view, DType>, 11> kSafetensorsDTypes{{
    {"F64", DType::fp64},
    {"F32", DType::fp32},
    {"BF16", DType::bf16},
    {"F16", DType::fp16},
    {"F8_E4M3", DType::fp8_e4m3},
    {"F8_E5M2", DType::fp8_e5m2},
    {"I64", DType::int64},
    {"I32", DType::int32},
    {"I8", DType::int8},
    {"U8", DType::uint8},
    {"BOOL", DType::boolean},
}};

inline std::optional<DType> dtype_of_safetensors(std::string_view name) {
  for (const auto& [text, dtype] : kSafetensorsDTypes) {
    if (text == name) return dtype;
  }
  return std::nullopt;
}

inline std::string_view safetensors_name_of(DType dtype) {
  for (const auto& [text, known] : kSafetensorsDTypes) {
    if (known == dtype) return text;
  }
  return "?";
}

}  // namespace bessemer::checkpoint

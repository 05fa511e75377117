// The static type of a tensor: element type and shape. Every shape in Bessemer is known before
// step 0, so this is a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace bessemer {

/// Sizes of the dimensions, outermost first; row-major and dense. Empty: a scalar.
using Shape = std::vector<std::int64_t>;

struct TensorType {
  DType dtype = DType::fp32;
  Shape shape;

  std::int64_t rank() const { return static_cast<std::int64_t>(shape.size()); }
  std::int64_t elements() const;
  std::size_t bytes() const;

  /// Size of dimension `d`; negative `d` counts from the end (-1 is the innermost).
  std::int64_t dim(std::int64_t d) const;

  bool operator==(const TensorType&) const = default;
};

std::int64_t elements_of(const Shape& shape);

/// "bf16[4,256,768]"; a scalar is "fp32[]".
std::string to_string(const TensorType& type);
std::string to_string(const Shape& shape);

}  // namespace bessemer

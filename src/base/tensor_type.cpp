#include "base/tensor_type.h"

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer {

std::int64_t elements_of(const Shape& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

std::int64_t TensorType::elements() const { return elements_of(shape); }

std::size_t TensorType::bytes() const {
  return static_cast<std::size_t>(elements()) * size_of(dtype);
}

std::int64_t TensorType::dim(std::int64_t d) const {
  const std::int64_t index = d < 0 ? d + rank() : d;
  if (index < 0 || index >= rank()) fail("dimension {} of {}", d, to_string(*this));
  return shape[static_cast<std::size_t>(index)];
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

std::string to_string(const TensorType& type) {
  return fmt::format("{}{}", name_of(type.dtype), to_string(type.shape));
}

}  // namespace bessemer

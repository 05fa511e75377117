// A number as an element of a tensor: what `fill` writes, byte for byte.
#pragma once

#include <array>
#include <cstddef>

#include "base/dtype.h"

namespace bessemer::kernels {

/// The first size_of(dtype) of them count; the others are 0.
struct alignas(8) ElementBytes : std::array<std::byte, 8> {};

/// `value` rounded to the dtype; integers are cut towards zero and to what they can hold.
ElementBytes element_bytes(DType dtype, double value);

}  // namespace bessemer::kernels

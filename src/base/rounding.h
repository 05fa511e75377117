// Whole numbers rounded up, in the wider of two integer types.
#pragma once

#include <concepts>

namespace bessemer {

/// Parts of at most `size` that `count` things make.
constexpr auto divide_up(std::integral auto count, std::integral auto size) {
  return (count + size - 1) / size;
}

/// The least multiple of `multiple` that is not below `count`.
constexpr auto round_up(std::integral auto count, std::integral auto multiple) {
  return divide_up(count, multiple) * multiple;
}

}  // namespace bessemer

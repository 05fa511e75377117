// A sequence in one stretch of memory: tokens, targets, positions, and the two ends of visibility.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace bessemer::data {

/// Elements of a row of `length` tokens.
inline std::size_t row_elements(std::int64_t length) {
  return 5 * static_cast<std::size_t>(length);
}
inline std::size_t row_bytes(std::int64_t length) {
  return row_elements(length) * sizeof(std::int32_t);
}

/// The row of `length` tokens at `place`, which has row_elements.
inline SequenceView row_at(std::int32_t* place, std::int64_t length) {
  const auto n = static_cast<std::size_t>(length);
  return {{place, n}, {place + n, n}, {place + 2 * n, n}, {place + 3 * n, 2 * n}};
}

inline void copy_row(const SequenceView& from, const SequenceView& to) {
  std::copy(from.tokens.begin(), from.tokens.end(), to.tokens.begin());
  std::copy(from.targets.begin(), from.targets.end(), to.targets.begin());
  std::copy(from.positions.begin(), from.positions.end(), to.positions.begin());
  std::copy(from.visibility.begin(), from.visibility.end(), to.visibility.begin());
}

}  // namespace bessemer::data

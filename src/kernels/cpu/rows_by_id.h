// The row of a table, or of the part of it that begins with id `first`, for each position.
#pragma once

#include <cstdint>

namespace bessemer::kernels::cpu {

struct RowsById {
  const std::int32_t* ids = nullptr;
  std::int64_t first = 0, rows = 0;

  std::int64_t row(std::int64_t position) const { return ids[position] - first; }
  bool has(std::int64_t position) const { return row(position) >= 0 && row(position) < rows; }
};

}  // namespace bessemer::kernels::cpu

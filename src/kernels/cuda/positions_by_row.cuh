// Positions sorted by the row of a table that their ids name, and in each row by position: a stable
// radix sort from the least digit (Satish, Harris and Garland, "Designing efficient sorting
// algorithms for manycore GPUs", 2009). It has no atomics: what it gives does not depend on timing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

/// The row of a table of `rows` rows, which begins with id `first`.
struct RowsById {
  const std::int32_t* ids;
  std::int64_t first;
  int rows;

  /// `rows` where the position's id lies outside.
  __device__ int row(int position) const {
    const std::int64_t row = ids[position] - first;
    return row >= 0 && row < rows ? static_cast<int>(row) : rows;
  }
};

/// Part of the sorted positions: what one row has. Empty: begin = end.
struct RowRange {
  int begin, end;
};

/// The sort, with all it needs in one piece of scratch. At least one position and one row.
class PositionsByRow {
 public:
  /// In scratch, when the sort is done.
  struct Result {
    const int* sorted;       // those whose id lies outside come last
    const RowRange* ranges;  // of each row
  };

  PositionsByRow(int positions, int rows);
  std::size_t scratch_bytes() const { return 2 * order_bytes() + counts_bytes() + ranges_bytes(); }
  Result launch_on(const RowsById& by_id, void* scratch, Stream stream) const;

 private:
  std::size_t order_bytes() const;
  std::size_t counts_bytes() const;
  std::size_t ranges_bytes() const;

  int positions_, rows_;
  int tiles_;  // of positions
  int passes_, digit_bits_;
};

}  // namespace bessemer::kernels::cuda

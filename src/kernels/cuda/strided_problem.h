// What a copy along strides has to do, and how it is cut until kernels can do it: on the host, at
// planning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bessemer::kernels::cuda {

struct StridedDimension {
  std::int64_t size;
  std::int64_t from, to;  // strides in bytes; 0 in the source repeats it
};

/// to[i0 * to0 + i1 * to1 + ...] = from[i0 * from0 + i1 * from1 + ...], counted in bytes. Elements
/// of the result do not overlap.
struct StridedProblem {
  std::vector<StridedDimension> dimensions;  // outermost first
  std::int64_t element;                      // bytes: 1, 2, 4 or 8
  std::int64_t from_begin = 0, to_begin = 0;

  std::int64_t count() const;  // of elements
  const StridedDimension& inner() const { return dimensions.back(); }
};

/// Parts that together do the same, each with less than Divisor::kLimit elements and at least one
/// dimension, neighbours that run on as one merged. A long row whose bytes are no multiple of 16
/// becomes one that is and its rest. None where there is nothing to copy.
std::vector<StridedProblem> parts_of(const StridedProblem& problem);

/// The most bytes, at most 16, that may be moved at once: that divide rows and strides. One element
/// where source and result are not both dense along the innermost dimension. Buffers begin at
/// multiples of 16.
std::int64_t widest_unit(const StridedProblem& problem);

/// Whether both begin, and every stride but those of single elements is, at multiples of `bytes`.
bool is_aligned(const StridedProblem& problem, std::int64_t bytes);

}  // namespace bessemer::kernels::cuda

// Copies that only move bytes: rows of bytes at two strides, and gathers along strides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bessemer::kernels::cpu {

/// `rows` rows of `bytes` bytes, `from_stride` and `to_stride` bytes apart. Multi-threaded. The two
/// must not overlap.
void copy_rows(const std::byte* from, std::int64_t from_stride, std::byte* to,
               std::int64_t to_stride, std::int64_t rows, std::int64_t bytes);

/// The same with zeros for a source.
void zero_rows(std::byte* to, std::int64_t to_stride, std::int64_t rows, std::int64_t bytes);

/// A dense result whose element (i0, i1, ...) is the source's at i0 * stride0 + i1 * stride1 + ...;
/// a permutation or, with strides of 0, a broadcast. Multi-threaded.
class StridedGather {
 public:
  /// `shape` of the result; `strides` in elements of `element_bytes` (1, 2, 4 or 8).
  StridedGather(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                std::size_t element_bytes);

  void run(const std::byte* from, std::byte* to) const;

 private:
  struct Dimension {
    std::int64_t size;
    std::int64_t stride;  // in the source
    std::int64_t step;    // in the result
  };

  template <typename Element>
  void gather(const Element* from, Element* to) const;
  template <typename Element>
  void gather_rows(const Element* from, Element* to) const;
  template <typename Element>
  void gather_blocks(const Element* from, Element* to) const;

  std::vector<Dimension> outer_;  // all but row_ and, where there is one, column_
  Dimension row_{1, 1, 1};        // the innermost of the result
  bool blocked_ = false;          // the source is dense along another dimension:
  Dimension column_{1, 1, 1};     // this one; the two are exchanged block by block
  std::int64_t outer_count_ = 1;
  std::size_t element_bytes_;
};

}  // namespace bessemer::kernels::cpu

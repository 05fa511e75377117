#include "kernels/cpu/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "base/rounding.h"

namespace bessemer::kernels::cpu {
namespace {

constexpr std::int64_t kChunk = 64 * 1024;  // bytes that are worth a thread of their own
constexpr std::int64_t kBlock = 32;         // elements of a side of a transposed block

/// body(row, begin, count) on pieces of at most kChunk bytes that cover `rows` rows of `bytes`.
template <typename Body>
void for_each_piece(std::int64_t rows, std::int64_t bytes, const Body& body) {
  if (rows <= 0 || bytes <= 0) return;
  const std::int64_t pieces = divide_up(bytes, kChunk);
  const std::int64_t grain = pieces > 1 ? 1 : std::max<std::int64_t>(1, kChunk / bytes);
  parallel_for(rows * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t start = i % pieces * kChunk;
      body(i / pieces, start, static_cast<std::size_t>(std::min(kChunk, bytes - start)));
    }
  });
}

}  // namespace

void copy_rows(const std::byte* from, std::int64_t from_stride, std::byte* to,
               std::int64_t to_stride, std::int64_t rows, std::int64_t bytes) {
  if (from_stride == bytes && to_stride == bytes) {  // one long row
    bytes *= rows;
    rows = 1;
  }
  for_each_piece(rows, bytes, [&](std::int64_t row, std::int64_t start, std::size_t count) {
    std::memcpy(to + row * to_stride + start, from + row * from_stride + start, count);
  });
}

void zero_rows(std::byte* to, std::int64_t to_stride, std::int64_t rows, std::int64_t bytes) {
  for_each_piece(rows, bytes, [&](std::int64_t row, std::int64_t start, std::size_t count) {
    std::memset(to + row * to_stride + start, 0, count);
  });
}

StridedGather::StridedGather(const std::vector<std::int64_t>& shape,
                             const std::vector<std::int64_t>& strides, std::size_t element_bytes)
    : element_bytes_(element_bytes) {
  std::vector<Dimension> dimensions;  // innermost first, neighbours that run on merged
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1) {
      Dimension* inner = dimensions.empty() ? nullptr : &dimensions.back();
      if (inner != nullptr && strides[d] == inner->stride * inner->size) {
        inner->size *= shape[d];
      } else {
        dimensions.push_back({shape[d], strides[d], step});
      }
    }
    step *= shape[d];
  }
  if (dimensions.empty()) return;
  row_ = dimensions.front();
  dimensions.erase(dimensions.begin());
  const auto dense = std::find_if(dimensions.begin(), dimensions.end(),
                                  [](const Dimension& d) { return d.stride == 1; });
  blocked_ = row_.stride > 1 && dense != dimensions.end();
  if (blocked_) {
    column_ = *dense;
    dimensions.erase(dense);
  }
  outer_ = std::move(dimensions);
  for (const Dimension& d : outer_) outer_count_ *= d.size;
}

void StridedGather::run(const std::byte* from, std::byte* to) const {
  switch (element_bytes_) {
    case 1:
      return gather(reinterpret_cast<const std::uint8_t*>(from),
                    reinterpret_cast<std::uint8_t*>(to));
    case 2:
      return gather(reinterpret_cast<const std::uint16_t*>(from),
                    reinterpret_cast<std::uint16_t*>(to));
    case 4:
      return gather(reinterpret_cast<const std::uint32_t*>(from),
                    reinterpret_cast<std::uint32_t*>(to));
    default:
      return gather(reinterpret_cast<const std::uint64_t*>(from),
                    reinterpret_cast<std::uint64_t*>(to));
  }
}

template <typename Element>
void StridedGather::gather(const Element* from, Element* to) const {
  if (blocked_) {
    gather_blocks(from, to);
  } else {
    gather_rows(from, to);
  }
}

template <typename Element>
void StridedGather::gather_rows(const Element* from, Element* to) const {
  const auto row_bytes = row_.size * static_cast<std::int64_t>(sizeof(Element));
  // A long row is cut into pieces, so that one row alone keeps all threads busy.
  for_each_piece(outer_count_, row_bytes,
                 [&](std::int64_t index, std::int64_t start, std::size_t bytes) {
                   const std::int64_t first = start / static_cast<std::int64_t>(sizeof(Element));
                   const Element* source = from + first * row_.stride;
                   Element* target = to + first * row_.step;
                   for (const Dimension& d : outer_) {
                     source += index % d.size * d.stride;
                     target += index % d.size * d.step;
                     index /= d.size;
                   }
                   const auto count = static_cast<std::int64_t>(bytes / sizeof(Element));
                   if (row_.stride == 1) {
                     std::memcpy(target, source, bytes);
                   } else if (row_.stride == 0) {
                     std::fill_n(target, count, *source);
                   } else {
                     for (std::int64_t i = 0; i < count; ++i) target[i] = source[i * row_.stride];
                   }
                 });
}

template <typename Element>
void StridedGather::gather_blocks(const Element* from, Element* to) const {
  const std::int64_t row_blocks = divide_up(row_.size, kBlock);
  const std::int64_t column_blocks = divide_up(column_.size, kBlock);
  const std::int64_t grain = std::max<std::int64_t>(
      1, kChunk / (kBlock * kBlock * static_cast<std::int64_t>(sizeof(Element))));
  const std::int64_t count = outer_count_ * row_blocks * column_blocks;
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t index = i / (row_blocks * column_blocks);
      const std::int64_t row = i % row_blocks * kBlock;
      const std::int64_t column = i / row_blocks % column_blocks * kBlock;
      const Element* source = from + row * row_.stride + column;
      Element* target = to + row + column * column_.step;
      for (const Dimension& d : outer_) {
        source += index % d.size * d.stride;
        target += index % d.size * d.step;
        index /= d.size;
      }
      const std::int64_t rows = std::min(kBlock, row_.size - row);
      const std::int64_t columns = std::min(kBlock, column_.size - column);
      for (std::int64_t c = 0; c < columns; ++c) {
        for (std::int64_t r = 0; r < rows; ++r) {
          target[c * column_.step + r] = source[r * row_.stride + c];
        }
      }
    }
  });
}

}  // namespace bessemer::kernels::cpu

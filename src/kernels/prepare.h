// What kernels of both backends share at planning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/rounding.h"
#include "kernels/kernel.h"

namespace bessemer::kernels {

inline bool is_fp32_or_bf16(DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; }

/// The refusal of a kernel that does fp32 and bf16 only, where a floating operand or result is of
/// another dtype.
inline std::optional<Declined> decline_other_floats(const KernelRequest& request) {
  const auto refuse = [](std::string_view what, std::size_t i, DType dtype) {
    return Declined{
        fmt::format("{} {} is {}; this kernel does fp32 and bf16", what, i, name_of(dtype))};
  };
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    if (!request.has_operand(i)) continue;
    const DType dtype = request.operand(i).dtype;
    if (is_floating(dtype) && !is_fp32_or_bf16(dtype)) return refuse("operand", i, dtype);
  }
  for (std::size_t i = 0; i < request.results.size(); ++i) {
    const DType dtype = request.results[i].dtype;
    if (is_floating(dtype) && !is_fp32_or_bf16(dtype)) return refuse("result", i, dtype);
  }
  return std::nullopt;
}

/// A cut of [0, rows) into blocks that depends on `rows` only, never on the thread count: sums over
/// rows are made block by block, and the blocks' sums added in order.
struct RowBlocks {
  std::int64_t rows;
  std::int64_t block_rows;
  std::int64_t count;

  explicit RowBlocks(std::int64_t all_rows)
      : RowBlocks(all_rows, std::max<std::int64_t>(8, (all_rows + 63) / 64)) {}
  RowBlocks(std::int64_t all_rows, std::int64_t rows_of_block)
      : rows(all_rows), block_rows(rows_of_block), count(divide_up(all_rows, rows_of_block)) {}

  std::int64_t begin(std::int64_t block) const { return block * block_rows; }
  std::int64_t end(std::int64_t block) const { return std::min(rows, (block + 1) * block_rows); }
};

/// Dimension `d` as an index from the front; negative counts from the end.
inline std::size_t dimension(std::int64_t d, std::int64_t rank) {
  require(-rank <= d && d < rank, "dimension {} of a tensor of rank {}", d, rank);
  return static_cast<std::size_t>(d < 0 ? d + rank : d);
}

/// Bytes of `count` floats, rounded up so that what follows is aligned.
inline std::size_t float_bytes(std::int64_t count) {
  return align_up(static_cast<std::size_t>(count) * sizeof(float));
}

/// Elements that are worth a thread of their own.
inline constexpr std::int64_t kGrain = 16384;

/// Random words that kernels make at a time (cpu/random_words-inl.h); a multiple of 4 times the
/// lanes of any vector.
inline constexpr std::int64_t kRandomWords = 1024;

}  // namespace bessemer::kernels

// Rows of a table by id, and the sum of their gradients.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/cpu/rows_by_id.h"
#include "kernels/cpu/strided_copy.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

template <typename From, typename To>
void convert_row(const From* from, To* to, std::int64_t width) {
  for_each_vector(
      0, width, [&](std::int64_t i, auto access) { access.store(access.load(from + i), to + i); });
}

/// fp32 to bf16 or bf16 to fp32.
void convert(const void* from, DType dtype, void* to, std::int64_t width) {
  if (dtype == DType::bf16) {
    convert_row(static_cast<const BFloat16*>(from), static_cast<float*>(to), width);
  } else {
    convert_row(static_cast<const float*>(from), static_cast<BFloat16*>(to), width);
  }
}

template <typename T>
void scatter_columns(const T* dy, const RowsById& by_id, std::int64_t positions, std::int64_t width,
                     float* out, std::int64_t begin, std::int64_t end) {
  for (std::int64_t p = 0; p < positions; ++p) {
    if (!by_id.has(p)) continue;
    float* row = out + by_id.row(p) * width;
    for_each_vector(begin, end, [&](std::int64_t c, auto access) {
      access.store(hn::Add(access.load(row + c), access.load(dy + p * width + c)), row + c);
    });
  }
}

/// out[row of p, c] += dy[p, c] for every position p, in order, and c in [begin, end).
void scatter(const void* dy, DType dtype, const RowsById& by_id, std::int64_t positions,
             std::int64_t width, float* out, std::int64_t begin, std::int64_t end) {
  if (dtype == DType::bf16) {
    scatter_columns(static_cast<const BFloat16*>(dy), by_id, positions, width, out, begin, end);
  } else {
    scatter_columns(static_cast<const float*>(dy), by_id, positions, width, out, begin, end);
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {
HWY_EXPORT(convert);
HWY_EXPORT(scatter);
}  // namespace

Prepared embedding(const KernelRequest& request) {
  const TensorType& table = request.operand(0);
  const DType from = table.dtype, to = request.results[0].dtype;
  if (from != to && (!is_fp32_or_bf16(from) || !is_fp32_or_bf16(to))) {
    return Declined{
        fmt::format("{} to {}; this kernel converts fp32 and bf16", name_of(from), name_of(to))};
  }
  const std::int64_t rows = table.shape[0], width = table.shape[1];
  const std::int64_t positions = request.operand(1).elements();
  const auto from_bytes = width * static_cast<std::int64_t>(size_of(from));
  const auto to_bytes = width * static_cast<std::int64_t>(size_of(to));
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
  const std::int64_t first = request.attributes.integer("first", 0);
  return make_kernel([=](const KernelBuffers& buffers) {
    const auto* x = buffers.operand<std::byte>(0);
    const RowsById by_id{buffers.operand<std::int32_t>(1), first, rows};
    const auto* into = buffers.operand<std::byte>(2);
    auto* y = buffers.result<std::byte>(0);
    parallel_for(positions, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        std::byte* row = y + p * to_bytes;
        if (!by_id.has(p)) {
          if (into == nullptr) std::memset(row, 0, static_cast<std::size_t>(to_bytes));
          if (into != nullptr && into != y) {
            std::memcpy(row, into + p * to_bytes, static_cast<std::size_t>(to_bytes));
          }
          continue;
        }
        const std::byte* source = x + by_id.row(p) * from_bytes;
        if (from == to) {
          std::memcpy(row, source, static_cast<std::size_t>(to_bytes));
        } else {
          HWY_DYNAMIC_DISPATCH(convert)(source, from, row, width);
        }
      }
    });
  });
}

Prepared embedding_grad(const KernelRequest& request) {
  const TensorType& dy = request.operand(0);
  const TensorType& result = request.results[0];
  if (!is_fp32_or_bf16(dy.dtype) || result.dtype != DType::fp32) {
    return Declined{fmt::format("{} into {}; this kernel sums fp32 and bf16 into fp32",
                                name_of(dy.dtype), name_of(result.dtype))};
  }
  const DType dtype = dy.dtype;
  const std::int64_t rows = result.shape[0], width = result.shape[1];
  const std::int64_t positions = request.operand(1).elements();
  const auto bytes = static_cast<std::int64_t>(result.bytes());
  const std::int64_t first = request.attributes.integer("first", 0);
  return make_kernel([=](const KernelBuffers& buffers) {
    const auto* addend = buffers.operand<std::byte>(2);
    auto* out = buffers.result<std::byte>(0);
    if (addend == nullptr) {
      zero_rows(out, bytes, 1, bytes);
    } else if (addend != out) {
      copy_rows(addend, bytes, out, bytes, 1, bytes);
    }
    // Every thread owns columns: no two meet, and each sum runs in order of position.
    parallel_for(width, 64, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(scatter)
      (buffers.operand<void>(0), dtype, {buffers.operand<std::int32_t>(1), first, rows}, positions,
       width, buffers.result<float>(0), begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif

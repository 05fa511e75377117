// Sums over neighbouring dimensions: x is seen as [outer, reduced, inner] and summed over the
// middle.
//
// Sums are made over blocks that depend on the shape only and the blocks' sums added in order, so
// the result does not depend on the thread count. Sums of rows begin with the addend, and their
// blocks are of one size: cut between blocks into parts, each added to the one before, a sum keeps
// its bits.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduce_sum.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>
#include <optional>

#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"

#ifndef BESSEMER_KERNELS_CPU_REDUCE_SUM_ARGUMENTS
#define BESSEMER_KERNELS_CPU_REDUCE_SUM_ARGUMENTS
namespace bessemer::kernels::cpu {

struct ReducedShape {
  std::int64_t outer = 1;
  std::int64_t reduced = 1;
  std::int64_t inner = 1;
};

/// Elements of one partial sum where the innermost dimension is reduced.
inline constexpr std::int64_t kSumBlock = 16384;

/// Rows of one partial sum where it stays.
inline constexpr std::int64_t kRowBlock = 64;

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

template <typename T>
void add_rows_of(const T* x, std::int64_t rows, std::int64_t width, float* sums) {
  std::memset(sums, 0, static_cast<std::size_t>(width) * sizeof(float));
  for (std::int64_t row = 0; row < rows; ++row) {
    for_each_vector(0, width, [&](std::int64_t c, auto access) {
      access.store(hn::Add(access.load(sums + c), access.load(x + row * width + c)), sums + c);
    });
  }
}

/// sums[c] = sum over rows of x[row, c]; x starts `offset` elements into `base`.
void add_rows(const void* base, DType dtype, std::int64_t offset, std::int64_t rows,
              std::int64_t width, float* sums) {
  if (dtype == DType::bf16) {
    add_rows_of(static_cast<const BFloat16*>(base) + offset, rows, width, sums);
  } else {
    add_rows_of(static_cast<const float*>(base) + offset, rows, width, sums);
  }
}

template <typename T>
float add_run_of(const T* x, std::int64_t count) {
  return sum_vectors(0, count, [&](std::int64_t i, auto access) { return access.load(x + i); });
}

float add_run(const void* base, DType dtype, std::int64_t offset, std::int64_t count) {
  return dtype == DType::bf16 ? add_run_of(static_cast<const BFloat16*>(base) + offset, count)
                              : add_run_of(static_cast<const float*>(base) + offset, count);
}

template <typename T>
void add_partials_of(const T* addend, const float* partials, std::int64_t blocks,
                     std::int64_t width, T* out, std::int64_t begin, std::int64_t end) {
  for_each_vector(begin, end, [&](std::int64_t c, auto access) {
    FloatVec sum = addend ? access.load(addend + c) : hn::Zero(FloatTag());
    for (std::int64_t b = 0; b < blocks; ++b) {
      sum = hn::Add(sum, access.load(partials + b * width + c));
    }
    access.store(sum, out + c);
  });
}

/// out[offset + c] = addend[offset + c], if there is one, and the sum over blocks of
/// partials[block, c], for c in [begin, end).
void add_partials(const void* addend, const float* partials, std::int64_t blocks,
                  std::int64_t width, void* out, DType dtype, std::int64_t offset,
                  std::int64_t begin, std::int64_t end) {
  const auto add = [&](auto* to) {
    const auto* from = static_cast<decltype(to)>(const_cast<void*>(addend));
    add_partials_of(from ? from + offset : nullptr, partials, blocks, width, to + offset, begin,
                    end);
  };
  if (dtype == DType::bf16) return add(static_cast<BFloat16*>(out));
  add(static_cast<float*>(out));
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(add_rows);
HWY_EXPORT(add_run);
HWY_EXPORT(add_partials);

/// Nothing where the reduced dimensions are not neighbours (those of size 1 aside).
std::optional<ReducedShape> reduced_shape(const TensorType& x,
                                          const std::vector<std::int64_t>& dims) {
  std::vector<bool> gone(x.shape.size());
  for (const std::int64_t d : dims) gone[dimension(d, x.rank())] = true;
  ReducedShape shape;
  enum class Part { outer, reduced, inner } part = Part::outer;
  for (std::size_t d = 0; d < gone.size(); ++d) {
    const std::int64_t size = x.shape[d];
    if (size == 1) continue;
    if (gone[d]) {
      if (part == Part::inner) return std::nullopt;
      part = Part::reduced;
      shape.reduced *= size;
    } else {
      if (part == Part::reduced) part = Part::inner;
      (part == Part::outer ? shape.outer : shape.inner) *= size;
    }
  }
  return shape;
}

/// The innermost dimension stays: whole rows are added, block by block.
Prepared sum_of_rows(const ReducedShape& shape, DType from, DType to) {
  const RowBlocks blocks(shape.reduced, kRowBlock);
  const std::int64_t inner = shape.inner;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, blocks.block_rows * inner));
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* partials = static_cast<float*>(buffers.scratch);
        const void* x = buffers.operand<void>(0);
        parallel_for(shape.outer * blocks.count, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t block = i % blocks.count, row = blocks.begin(block);
            const std::int64_t first = i / blocks.count * shape.reduced + row;
            HWY_DYNAMIC_DISPATCH(add_rows)
            (x, from, first * inner, blocks.end(block) - row, inner, partials + i * inner);
          }
        });
        const std::int64_t tail_grain =
            std::max<std::int64_t>(256, kGrain / std::max<std::int64_t>(1, blocks.count));
        parallel_for(shape.outer * inner, tail_grain, [&](std::int64_t begin, std::int64_t end) {
          while (begin < end) {  // one outer entry after the other
            const std::int64_t o = begin / inner, start = begin % inner;
            const std::int64_t stop = std::min(inner, start + end - begin);
            HWY_DYNAMIC_DISPATCH(add_partials)
            (buffers.operand<void>(1), partials + o * blocks.count * inner, blocks.count, inner,
             buffers.result<void>(0), to, o * inner, start, stop);
            begin += stop - start;
          }
        });
      },
      float_bytes(shape.outer * blocks.count * inner));
}

/// The innermost dimension goes: every entry is a sum over a run of elements.
Prepared sum_of_runs(const ReducedShape& shape, DType from, DType to) {
  const std::int64_t blocks = divide_up(shape.reduced, kSumBlock);
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::clamp<std::int64_t>(shape.reduced, 1, kSumBlock));
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* partials = static_cast<float*>(buffers.scratch);
        const void* x = buffers.operand<void>(0);
        parallel_for(shape.outer * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t start = i % blocks * kSumBlock;
            const std::int64_t count = std::min(kSumBlock, shape.reduced - start);
            partials[i] =
                HWY_DYNAMIC_DISPATCH(add_run)(x, from, i / blocks * shape.reduced + start, count);
          }
        });
        for (std::int64_t o = 0; o < shape.outer; ++o) {
          double sum = 0;
          for (std::int64_t b = 0; b < blocks; ++b) sum += double{partials[o * blocks + b]};
          if (to == DType::bf16) {
            buffers.result<BFloat16>(0)[o] = BFloat16(static_cast<float>(sum));
          } else {
            buffers.result<float>(0)[o] = static_cast<float>(sum);
          }
        }
      },
      float_bytes(shape.outer * blocks));
}

}  // namespace

Prepared reduce_sum(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const DType to = request.results[0].dtype;
  if (!is_fp32_or_bf16(x.dtype) || !is_fp32_or_bf16(to)) {
    return Declined{
        fmt::format("{} to {}; this kernel sums fp32 and bf16", name_of(x.dtype), name_of(to))};
  }
  const auto shape = reduced_shape(x, request.attributes.integers("dims"));
  if (!shape) return Declined{"the reduced dimensions are not neighbours"};
  if (shape->inner == 1 && request.has_operand(1)) return Declined{"an addend to sums of runs"};
  return shape->inner == 1 ? sum_of_runs(*shape, x.dtype, to) : sum_of_rows(*shape, x.dtype, to);
}

}  // namespace bessemer::kernels::cpu
#endif

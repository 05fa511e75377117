#include "kernels/cpu/skinny_product.h"

#include <algorithm>
#include <bit>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/cpu/gemm_target.h"

// Sets that have nothing for a matrix product over the next smaller one.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/skinny_product.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/cpu/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
constexpr std::int64_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::int64_t kSums = HWY_TARGET <= HWY_AVX3 ? 16 : 8;  // registers that hold sums

/// Columns of b contiguous along k: kRows x kSums / kRows dot products at a time.
template <std::int64_t kRows, std::int64_t kColumns, typename T>
HWY_INLINE void dot_tile(const float* a, std::int64_t depth, const T* b, float* strip,
                         std::int64_t strip_stride) {
  const FloatTag d;
  hn::Vec<FloatTag> sums[kRows][kColumns];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  const auto step = [&](std::int64_t k, auto load) HWY_ATTR {
    hn::Vec<FloatTag> columns[kColumns];
    for (std::int64_t j = 0; j < kColumns; ++j) columns[j] = load(b + j * depth + k);
    for (std::int64_t i = 0; i < kRows; ++i) {
      const auto row = load(a + i * depth + k);
      for (std::int64_t j = 0; j < kColumns; ++j) {
        sums[i][j] = hn::MulAdd(row, columns[j], sums[i][j]);
      }
    }
  };
  std::int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    step(k, [&](const auto* p) HWY_ATTR { return load_floats(d, p); });
  }
  if (k < depth) step(k, [&](const auto* p) HWY_ATTR { return load_some(d, p, depth - k); });
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (std::int64_t j = 0; j < kColumns; ++j) {
      strip[i * strip_stride + j] = hn::GetLane(hn::SumOfLanes(d, sums[i][j]));
    }
  }
}

template <std::int64_t kRows, typename T>
void dot_columns(const float* a, std::int64_t depth, const T* b, std::int64_t count, float* strip,
                 std::int64_t strip_stride) {
  constexpr std::int64_t kColumns = std::max<std::int64_t>(1, kSums / kRows);
  std::int64_t j = 0;
  for (; j + kColumns <= count; j += kColumns) {
    dot_tile<kRows, kColumns>(a, depth, b + j * depth, strip + j, strip_stride);
  }
  for (; j < count; ++j) dot_tile<kRows, 1>(a, depth, b + j * depth, strip + j, strip_stride);
}

/// Columns of b that lie beside each other: rows of b times one element of each row of a.
template <std::int64_t kRows, typename T>
void add_rows(const float* a, std::int64_t depth, const T* b, std::int64_t b_stride,
              std::int64_t count, float* strip, std::int64_t strip_stride) {
  constexpr std::int64_t kVectors = std::clamp<std::int64_t>(kSums / kRows, 1, 4);
  const FloatTag d;
  for (std::int64_t j = 0; j < count; j += kVectors * kLanes) {
    hn::Vec<FloatTag> sums[kRows][kVectors];
    for (auto& row : sums) {
      for (auto& sum : row) sum = hn::Zero(d);
    }
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t v = 0; v < kVectors; ++v) {
        const std::int64_t column = std::min(j + v * kLanes, count);
        const auto values = load_some(d, b + k * b_stride + column, count - column);
        for (std::int64_t i = 0; i < kRows; ++i) {
          sums[i][v] = hn::MulAdd(hn::Set(d, a[i * depth + k]), values, sums[i][v]);
        }
      }
    }
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t v = 0; v < kVectors && j + v * kLanes < count; ++v) {
        const std::int64_t column = j + v * kLanes;
        store_some(d, sums[i][v], strip + i * strip_stride + column, count - column);
      }
    }
  }
}

template <std::int64_t kRows, typename T>
void multiply_of(const float* a, std::int64_t depth, const MatrixView& b, std::int64_t column,
                 std::int64_t count, float* strip, std::int64_t strip_stride) {
  const T* first = static_cast<const T*>(b.data) + column * b.column_stride;
  if (b.column_stride != 1) return dot_columns<kRows>(a, depth, first, count, strip, strip_stride);
  add_rows<kRows>(a, depth, first, b.row_stride, count, strip, strip_stride);
}

template <typename T>
void multiply_rows(std::int64_t rows, const float* a, std::int64_t depth, const MatrixView& b,
                   std::int64_t column, std::int64_t count, float* strip,
                   std::int64_t strip_stride) {
  switch (rows) {
    case 1: return multiply_of<1, T>(a, depth, b, column, count, strip, strip_stride);
    case 2: return multiply_of<2, T>(a, depth, b, column, count, strip, strip_stride);
    case 4: return multiply_of<4, T>(a, depth, b, column, count, strip, strip_stride);
    default: return multiply_of<8, T>(a, depth, b, column, count, strip, strip_stride);
  }
}

/// strip = a times columns [column, column + count) of b. `rows` is 1, 2, 4 or 8.
void multiply(std::int64_t rows, const float* a, std::int64_t depth, const MatrixView& b,
              std::int64_t column, std::int64_t count, float* strip, std::int64_t strip_stride) {
  if (b.dtype == DType::bf16) {
    return multiply_rows<BFloat16>(rows, a, depth, b, column, count, strip, strip_stride);
  }
  multiply_rows<float>(rows, a, depth, b, column, count, strip, strip_stride);
}

/// `count` elements as fp32.
void widen(const MatrixView& a, std::int64_t count, float* out) {
  const FloatTag d;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const auto v = a.dtype == DType::bf16
                       ? load_some(d, static_cast<const BFloat16*>(a.data) + i, count - i)
                       : load_some(d, static_cast<const float*>(a.data) + i, count - i);
    store_some(d, v, out + i, count - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bessemer::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

constexpr std::int64_t kSmallWork = std::int64_t{1} << 16;  // not worth a second thread

HWY_EXPORT(multiply);
HWY_EXPORT(widen);

class SkinnyProduct final : public Product {
 public:
  SkinnyProduct(const ProductSpec& spec, const Machine& machine)
      : spec_(spec),
        target_(gemm_target()),
        rows_(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(spec.m)))),
        threads_(spec.m * spec.n * spec.k <= kSmallWork ? 1 : std::max(1, machine.threads)) {
    a_bytes_ = align_up(static_cast<std::size_t>(rows_ * spec.k) * sizeof(float));
    strip_bytes_ = align_up(static_cast<std::size_t>(rows_ * target_.columns) * sizeof(float));
  }

  std::size_t scratch_bytes() const override {
    return a_bytes_ + static_cast<std::size_t>(threads_) * strip_bytes_;
  }

  void run(const ProductBuffers& buffers) const override {
    auto* a = reinterpret_cast<float*>(buffers.scratch);
    for (std::int64_t row = 0; row < spec_.m; ++row) {
      const std::int64_t skipped =
          row * spec_.a_stride() * static_cast<std::int64_t>(size_of(spec_.a));
      HWY_DYNAMIC_DISPATCH(widen)
      ({static_cast<const std::byte*>(buffers.a) + skipped, spec_.a}, spec_.k, a + row * spec_.k);
    }
    std::fill_n(a + spec_.m * spec_.k, (rows_ - spec_.m) * spec_.k, 0.0f);
    const std::int64_t panels = divide_up(spec_.n, target_.columns);
    const auto run_panels = [&](std::int64_t part, int thread) {
      auto* strip = reinterpret_cast<float*>(buffers.scratch + a_bytes_ +
                                             static_cast<std::size_t>(thread) * strip_bytes_);
      for (std::int64_t p = panels * part / threads_; p < panels * (part + 1) / threads_; ++p) {
        run_panel(buffers, a, p * target_.columns, strip);
      }
    };
    parallel_items(threads_, run_panels);
  }

 private:
  void run_panel(const ProductBuffers& buffers, const float* a, std::int64_t column,
                 float* strip) const {
    const std::int64_t count = std::min(target_.columns, spec_.n - column);
    const MatrixView b = spec_.transpose_b ? MatrixView{buffers.b, spec_.b, 1, spec_.k}
                                           : MatrixView{buffers.b, spec_.b, spec_.n, 1};
    HWY_DYNAMIC_DISPATCH(multiply)(rows_, a, spec_.k, b, column, count, strip, target_.columns);
    const auto at = [column](const void* p, DType dtype) -> const void* {
      return p ? static_cast<const std::byte*>(p) +
                     column * static_cast<std::int64_t>(size_of(dtype))
               : nullptr;
    };
    Epilogue e;
    e.bias_dtype = spec_.bias.value_or(DType::fp32);
    e.bias = at(spec_.bias ? buffers.bias : nullptr, e.bias_dtype);
    e.activation = spec_.activation;
    e.addend = at(spec_.addend ? buffers.addend : nullptr, spec_.result);
    e.result = const_cast<void*>(at(buffers.result, spec_.result));
    e.dtype = spec_.result;
    e.row_stride = spec_.result_stride();
    target_.finish(strip, spec_.m, count, e);
  }

  ProductSpec spec_;
  GemmTarget target_;
  std::int64_t rows_;  // of a and of the strip, padded with zeros to a power of two
  int threads_;
  std::size_t a_bytes_ = 0, strip_bytes_ = 0;
};

}  // namespace

std::unique_ptr<const Product> make_skinny_product(const ProductSpec& spec,
                                                   const Machine& machine) {
  const std::int64_t most_rows = spec.transpose_b ? 8 : 2;
  if (spec.m < 1 || spec.m > most_rows || spec.transpose_a) return nullptr;
  return std::make_unique<const SkinnyProduct>(spec, machine);
}

}  // namespace bessemer::kernels::cpu
#endif

#include "kernels/cpu/gemm_target.h"

#include <algorithm>

// Sets that have nothing for a matrix product over the next smaller one.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm_target.cpp"
#include "base/rounding.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/cpu/activation-inl.h"
#include "kernels/cpu/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr std::int64_t kRegisters = 32;
#else
constexpr std::int64_t kRegisters = 16;
#endif

// The register tile: as many sums as leave room for the b vectors and one broadcast of a.
using FloatTag = hn::CappedTag<float, 16>;
constexpr std::int64_t kLanes = hn::MaxLanes(FloatTag());
constexpr std::int64_t kVectors = HWY_TARGET == HWY_SCALAR ? 4 : 3;
constexpr std::int64_t kRows = kRegisters == 32 ? 8 : 4;
constexpr std::int64_t kColumns = kVectors * kLanes;

// Four lanes (one without SIMD): the unit of packing, of which every tile dimension is a multiple.
using QuadTag = hn::CappedTag<float, 4>;
static_assert(kRows % 4 == 0 && kColumns % 4 == 0);

template <typename T>
void pack_b_rows(const T* b, std::int64_t stride, std::int64_t depth, std::int64_t count,
                 float* panel) {
  const FloatTag d;
  for (std::int64_t k = 0; k < depth; ++k, b += stride, panel += kColumns) {
    for (std::int64_t j = 0; j < kColumns; j += kLanes) {
      hn::StoreU(load_some(d, b + std::min(j, count), count - j), d, panel + j);
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
constexpr std::int64_t kTransposedColumns = 0;  // none by vectors
template <typename T>
void pack_b_columns(const T*, std::int64_t, std::int64_t, float*) {}
#else
constexpr std::int64_t kTransposedColumns = kLanes;

/// Sixteen bytes of every fourth source row, one after the other.
template <class D, typename T>
HWY_INLINE hn::Vec<D> load_every_fourth(D d, const T* b, std::int64_t stride) {
  constexpr std::int64_t rows = static_cast<std::int64_t>(hn::MaxLanes(d) * sizeof(T)) / 4;
  if constexpr (rows == 4) {
    return hn::LoadU(d, b);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, load_every_fourth(half, b + rows / 2 * stride, stride),
                       load_every_fourth(half, b, stride));
  }
}

/// Vectors of four elements each of source rows i, 4 + i, 8 + i ..., for i in 0..3, to four rows of
/// the panel: a transpose of 4 x 4 in every 128-bit block.
HWY_INLINE void store_transposed(const hn::Vec<FloatTag> (&r)[4], float* panel) {
  const FloatTag d;
  const auto even_low = hn::InterleaveLower(d, r[0], r[2]);
  const auto odd_low = hn::InterleaveLower(d, r[1], r[3]);
  const auto even_high = hn::InterleaveUpper(d, r[0], r[2]);
  const auto odd_high = hn::InterleaveUpper(d, r[1], r[3]);
  hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, panel);
  hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, panel + kColumns);
  hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, panel + 2 * kColumns);
  hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, panel + 3 * kColumns);
}

/// kLanes source rows of `depth` elements, a multiple of 16 bytes, to as many columns of the panel.
/// Along whole rows, which the processor fetches ahead, and by whole cache lines of the panel.
HWY_INLINE void pack_b_columns(const float* b, std::int64_t stride, std::int64_t depth,
                               float* panel) {
  for (std::int64_t k = 0; k < depth; k += 4) {
    hn::Vec<FloatTag> rows[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      rows[i] = load_every_fourth(FloatTag(), b + i * stride + k, stride);
    }
    store_transposed(rows, panel + k * kColumns);
  }
}

HWY_INLINE void pack_b_columns(const BFloat16* b, std::int64_t stride, std::int64_t depth,
                               float* panel) {
  const hn::Repartition<std::uint16_t, FloatTag> d16;
  const auto* bits = reinterpret_cast<const std::uint16_t*>(b);
  for (std::int64_t k = 0; k < depth; k += 8) {
    hn::Vec<FloatTag> low[4], high[4];  // zeros below the bits of a bf16 make it an fp32
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto row = load_every_fourth(d16, bits + i * stride + k, stride);
      low[i] = hn::BitCast(FloatTag(), hn::InterleaveLower(d16, hn::Zero(d16), row));
      high[i] = hn::BitCast(FloatTag(), hn::InterleaveUpper(d16, hn::Zero(d16), row));
    }
    store_transposed(low, panel + k * kColumns);
    store_transposed(high, panel + (k + 4) * kColumns);
  }
}
#endif

template <typename T>
void pack_b_transposed(const T* b, std::int64_t stride, std::int64_t depth, std::int64_t count,
                       float* panel) {
  constexpr std::int64_t kRun = 16 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t whole_depth = depth / kRun * kRun;
  std::int64_t whole_count = 0;
  if (kTransposedColumns > 0) {
    for (; whole_count + kTransposedColumns <= count; whole_count += kTransposedColumns) {
      pack_b_columns(b + whole_count * stride, stride, whole_depth, panel + whole_count);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = k < whole_depth ? whole_count : 0; j < kColumns; ++j) {
      panel[k * kColumns + j] = j < count ? static_cast<float>(b[j * stride + k]) : 0.0f;
    }
  }
}

template <typename T>
void pack_b_of(const MatrixView& b, std::int64_t k0, std::int64_t depth, std::int64_t column,
               std::int64_t count, float* panel) {
  const T* first = static_cast<const T*>(b.data) + k0 * b.row_stride + column * b.column_stride;
  if (b.column_stride == 1) return pack_b_rows(first, b.row_stride, depth, count, panel);
  pack_b_transposed(first, b.column_stride, depth, count, panel);
}

void pack_b(const MatrixView& b, std::int64_t k0, std::int64_t depth, std::int64_t column,
            std::int64_t count, float* panel) {
  if (b.dtype == DType::bf16) return pack_b_of<BFloat16>(b, k0, depth, column, count, panel);
  pack_b_of<float>(b, k0, depth, column, count, panel);
}

template <typename T>
void pack_a_depth_minor(const T* a, std::int64_t stride, std::int64_t count, std::int64_t depth,
                        float* panels) {
  const FloatTag d;
  const std::int64_t padded = round_up(count, kRows);
  for (std::int64_t i = 0; i < padded; ++i, panels += kDepthBlock) {
    if (i >= count) {
      std::fill_n(panels, depth, 0.0f);
      continue;
    }
    const T* row = a + i * stride;
    // kDepthBlock is a multiple of the lanes, so that whole vectors may be stored.
    for (std::int64_t k = 0; k < depth; k += kLanes) {
      hn::StoreU(load_some(d, row + k, depth - k), d, panels + k);
    }
  }
}

template <typename T>
void pack_a_row_minor(const T* a, std::int64_t stride, std::int64_t count, std::int64_t depth,
                      float* panels) {
  const QuadTag d;
  for (std::int64_t i = 0; i < count; i += kRows, panels += kRows * kDepthBlock) {
    const std::int64_t rows = std::min(kRows, count - i);
    for (std::int64_t k = 0; k < depth; ++k) {
      const T* source = a + k * stride + i;
      for (std::int64_t r = 0; r < kRows; r += hn::MaxLanes(d)) {
        hn::StoreU(load_some(d, source + std::min(r, rows), rows - r), d, panels + k * kRows + r);
      }
    }
  }
}

template <typename T>
void pack_a_of(const MatrixView& a, std::int64_t row, std::int64_t count, std::int64_t k0,
               std::int64_t depth, float* panels) {
  const T* first = static_cast<const T*>(a.data) + row * a.row_stride + k0 * a.column_stride;
  if (a.column_stride == 1) return pack_a_depth_minor(first, a.row_stride, count, depth, panels);
  pack_a_row_minor(first, a.column_stride, count, depth, panels);
}

void pack_a(const MatrixView& a, std::int64_t row, std::int64_t count, std::int64_t k0,
            std::int64_t depth, float* panels) {
  if (a.dtype == DType::bf16) return pack_a_of<BFloat16>(a, row, count, k0, depth, panels);
  pack_a_of<float>(a, row, count, k0, depth, panels);
}

/// One register tile. Element (i, k) of a is at a[i * kRowStep + k * kDepthStep].
template <std::int64_t kRowStep, std::int64_t kDepthStep>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                              std::int64_t depth, bool accumulate, float* HWY_RESTRICT strip) {
  const FloatTag d;
  hn::Vec<FloatTag> sums[kRows][kVectors];
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (std::int64_t v = 0; v < kVectors; ++v) {
      sums[i][v] = accumulate ? hn::Load(d, strip + i * kColumns + v * kLanes) : hn::Zero(d);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    hn::Vec<FloatTag> columns[kVectors];
    for (std::int64_t v = 0; v < kVectors; ++v) columns[v] = hn::Load(d, b + v * kLanes);
    for (std::int64_t i = 0; i < kRows; ++i) {
      const auto element = hn::Set(d, a[i * kRowStep]);
      for (std::int64_t v = 0; v < kVectors; ++v) {
        sums[i][v] = hn::MulAdd(element, columns[v], sums[i][v]);
      }
    }
    a += kDepthStep;
    b += kColumns;
  }
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (std::int64_t v = 0; v < kVectors; ++v) {
      hn::Store(sums[i][v], d, strip + i * kColumns + v * kLanes);
    }
  }
}

void multiply(const float* a, ALayout layout, std::int64_t panels, const float* b,
              std::int64_t depth, bool accumulate, float* strip) {
  for (std::int64_t p = 0; p < panels; ++p, a += kRows * kDepthBlock, strip += kRows * kColumns) {
    if (layout == ALayout::depth_minor) {
      multiply_tile<kDepthBlock, 1>(a, b, depth, accumulate, strip);
    } else {
      multiply_tile<1, kRows>(a, b, depth, accumulate, strip);
    }
  }
}

void load(const float* partial, std::int64_t row_stride, std::int64_t rows, std::int64_t count,
          float* strip) {
  const FloatTag d;
  for (std::int64_t i = 0; i < rows; ++i, partial += row_stride, strip += kColumns) {
    for (std::int64_t j = 0; j < count; j += kLanes) {
      hn::StoreU(load_some(d, partial + j, count - j), d, strip + j);
    }
  }
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V activate(D d, V x, Activation activation) {
  switch (activation) {
    case Activation::gelu_tanh: return gelu_tanh(d, x);
    case Activation::gelu: return gelu_erf(d, x);
    case Activation::silu: return silu(d, x);
    case Activation::none: break;
  }
  return x;
}

/// The bias of one panel as fp32, zeros where there is none.
void load_bias(const Epilogue& e, std::int64_t count, float* bias) {
  const FloatTag d;
  for (std::int64_t j = 0; j < kColumns; j += kLanes) {
    auto v = hn::Zero(d);
    if (e.bias && j < count) {
      v = e.bias_dtype == DType::bf16
              ? load_some(d, static_cast<const BFloat16*>(e.bias) + j, count - j)
              : load_some(d, static_cast<const float*>(e.bias) + j, count - j);
    }
    hn::Store(v, d, bias + j);
  }
}

template <typename T>
void finish_of(const float* strip, std::int64_t rows, std::int64_t count, const Epilogue& e) {
  const FloatTag d;
  HWY_ALIGN float bias[kColumns];
  load_bias(e, count, bias);
  for (std::int64_t i = 0; i < rows; ++i, strip += kColumns) {
    T* result = static_cast<T*>(e.result) + i * e.row_stride;
    const T* addend = e.addend ? static_cast<const T*>(e.addend) + i * e.row_stride : nullptr;
    for (std::int64_t j = 0; j < count; j += kLanes) {
      auto v = hn::Add(hn::Load(d, strip + j), hn::Load(d, bias + j));
      v = activate(d, v, e.activation);
      if (addend) v = hn::Add(v, load_some(d, addend + j, count - j));
      store_some(d, v, result + j, count - j);
    }
  }
}

void finish(const float* strip, std::int64_t rows, std::int64_t count, const Epilogue& epilogue) {
  if (epilogue.dtype == DType::bf16) return finish_of<BFloat16>(strip, rows, count, epilogue);
  finish_of<float>(strip, rows, count, epilogue);
}

GemmTarget target() { return {kRows, kColumns, pack_b, pack_a, multiply, load, finish}; }

}  // namespace HWY_NAMESPACE
}  // namespace bessemer::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
HWY_EXPORT(target);
GemmTarget gemm_target() { return HWY_DYNAMIC_DISPATCH(target)(); }
}  // namespace bessemer::kernels::cpu
#endif

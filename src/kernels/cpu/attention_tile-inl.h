// The arithmetic of attention tiles, compiled once for each instruction set: packing rows to fp32,
// transposing, the register-tiled products of small matrices, 2^x. Included by the kernel files
// after HWY_TARGET_INCLUDE is defined.
//
// All matrices here are fp32 scratch, row-major; columns and strides are multiples of kStrip and
// starts are aligned to 64 bytes. Each element of a product is one chain of fused multiply-adds in
// order of the inner index, however the product is cut into register tiles and blocks. So a
// different division of the work over threads gives the same bits.

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstdint>

#include "base/dtype.h"
#include "kernels/attention_problem.h"

#if defined(BESSEMER_KERNELS_CPU_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_ATTENTION_TILE_INL_H_
#undef BESSEMER_KERNELS_CPU_ATTENTION_TILE_INL_H_
#else
#define BESSEMER_KERNELS_CPU_ATTENTION_TILE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;
using Integers = hn::RebindToSigned<Floats>;
using Halves = hn::Rebind<std::uint16_t, Floats>;
using Vector = hn::Vec<Floats>;

constexpr std::int64_t kLanes = hn::MaxLanes(Floats());
static_assert(kStrip % kLanes == 0);

// The register tile: rows x vectors accumulators, with room for one row of B and one of A.
constexpr int kTileRows = 6;
constexpr int kTileVectors = kLanes == 16 ? 4 : 2;

HWY_INLINE Vector load_row(const float* p) { return hn::LoadU(Floats(), p); }

HWY_INLINE Vector load_row(const BFloat16* p) {
  const auto half = hn::LoadU(Halves(), &p->bits);
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(Words(), half)));
}

HWY_INLINE void store_row(Vector v, float* p) { hn::StoreU(v, Floats(), p); }

/// Rounds as BFloat16(float) does.
HWY_INLINE void store_row(Vector v, BFloat16* p) {
  const Words d;
  const auto bits = hn::BitCast(d, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto bias = hn::Add(hn::And(high, hn::Set(d, 1u)), hn::Set(d, 0x7fffu));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, bias));
  const auto nan = hn::RebindMask(d, hn::IsNaN(v));
  const auto result = hn::IfThenElse(nan, hn::Or(high, hn::Set(d, 0x40u)), rounded);
  hn::StoreU(hn::TruncateTo(Halves(), result), Halves(), &p->bits);
}

/// out[i][0, padded) = rows i of `in`, each `size` elements, `stride` apart; zeros in the padding.
template <typename T>
void pack_rows_of(const T* in, std::int64_t stride, std::int64_t rows, std::int64_t size,
                  std::int64_t padded, float* out) {
  for (std::int64_t i = 0; i < rows; ++i, in += stride, out += padded) {
    std::int64_t j = 0;
    for (; j + kLanes <= size; j += kLanes) hn::Store(load_row(in + j), Floats(), out + j);
    for (; j < size; ++j) out[j] = static_cast<float>(in[j]);
    for (; j < padded; ++j) out[j] = 0.0f;
  }
}

inline void pack_rows(DType dtype, const void* in, std::int64_t offset, std::int64_t stride,
                      std::int64_t rows, std::int64_t size, std::int64_t padded, float* out) {
  if (dtype == DType::bf16) {
    pack_rows_of(static_cast<const BFloat16*>(in) + offset, stride, rows, size, padded, out);
  } else {
    pack_rows_of(static_cast<const float*>(in) + offset, stride, rows, size, padded, out);
  }
}

/// Row i of `out` = row i of `in` [rows][padded] times factor[i], or times `scale` where `factor`
/// is null.
template <typename T>
void unpack_rows_of(const float* in, std::int64_t padded, std::int64_t rows, std::int64_t size,
                    const float* factor, float scale, T* out, std::int64_t stride) {
  for (std::int64_t i = 0; i < rows; ++i, in += padded, out += stride) {
    const float f = factor == nullptr ? scale : factor[i];
    const Vector vf = hn::Set(Floats(), f);
    std::int64_t j = 0;
    for (; j + kLanes <= size; j += kLanes) {
      store_row(hn::Mul(hn::Load(Floats(), in + j), vf), out + j);
    }
    for (; j < size; ++j) out[j] = static_cast<T>(in[j] * f);
  }
}

inline void unpack_rows(const float* in, std::int64_t padded, std::int64_t rows, std::int64_t size,
                        const float* factor, float scale, DType dtype, void* out,
                        std::int64_t offset, std::int64_t stride) {
  if (dtype == DType::bf16) {
    unpack_rows_of(in, padded, rows, size, factor, scale, static_cast<BFloat16*>(out) + offset,
                   stride);
  } else {
    unpack_rows_of(in, padded, rows, size, factor, scale, static_cast<float*>(out) + offset,
                   stride);
  }
}

#if HWY_TARGET == HWY_SCALAR

/// out[j][i] = in[i][j] * factor: in [strips * kStrip][columns] to out [columns][kQueryTile].
inline void transpose(const float* in, std::int64_t strips, std::int64_t columns, float factor,
                      float* out) {
  for (std::int64_t i = 0; i < strips * kStrip; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      out[j * kQueryTile + i] = in[i * columns + j] * factor;
    }
  }
}

#else

/// A vector whose 128-bit block b is the four floats at in + 4 b stride.
HWY_INLINE Vector load_blocks(const float* in, std::int64_t stride) {
  if constexpr (kLanes == 16) {
    const hn::Half<Floats> dh;
    const hn::Half<decltype(dh)> dq;
    const auto low = hn::Combine(dh, hn::LoadU(dq, in + 4 * stride), hn::LoadU(dq, in));
    const auto high =
        hn::Combine(dh, hn::LoadU(dq, in + 12 * stride), hn::LoadU(dq, in + 8 * stride));
    return hn::Combine(Floats(), high, low);
  } else if constexpr (kLanes == 8) {
    const hn::Half<Floats> dh;
    return hn::Combine(Floats(), hn::LoadU(dh, in + 4 * stride), hn::LoadU(dh, in));
  } else {
    return hn::LoadU(Floats(), in);
  }
}

/// out[j][i] = in[i][j] * factor for kLanes rows i from `in` and the four columns j from there.
HWY_INLINE void transpose_four(const float* in, std::int64_t in_stride, Vector factor, float* out,
                               std::int64_t out_stride) {
  const Floats d;
  const hn::Repartition<double, Floats> dd;
  const Vector r0 = load_blocks(in, in_stride);
  const Vector r1 = load_blocks(in + in_stride, in_stride);
  const Vector r2 = load_blocks(in + 2 * in_stride, in_stride);
  const Vector r3 = load_blocks(in + 3 * in_stride, in_stride);
  const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
  const auto put = [&](auto v, std::int64_t row) HWY_ATTR {
    hn::Store(hn::Mul(hn::BitCast(d, v), factor), d, out + row * out_stride);
  };
  put(hn::InterleaveLower(dd, low01, low23), 0);
  put(hn::InterleaveUpper(dd, low01, low23), 1);
  put(hn::InterleaveLower(dd, high01, high23), 2);
  put(hn::InterleaveUpper(dd, high01, high23), 3);
}

/// As above, in pieces of kLanes rows and four columns.
inline void transpose(const float* in, std::int64_t strips, std::int64_t columns, float factor,
                      float* out) {
  const Vector f = hn::Set(Floats(), factor);
  for (std::int64_t i = 0; i < strips * kStrip; i += kLanes) {
    for (std::int64_t j = 0; j < columns; j += 4) {
      transpose_four(in + i * columns + j, columns, f, out + j * kQueryTile + i, kQueryTile);
    }
  }
}

#endif

/// How A of a product lies in memory.
enum class Order {
  rows,     // A[i][k] at a[i * stride + k]
  columns,  // A[i][k] at a[k * stride + i]
};

struct Matrix {
  float* data;
  std::int64_t stride;
};

struct ConstMatrix {
  const float* data;
  std::int64_t stride;
};

/// C = (accumulate ? C : 0) + A B for one register tile. All rows of B's and C's kVectors vectors
/// are aligned.
template <Order kOrder, int kRows, int kVectors>
HWY_INLINE void multiply_tile(std::int64_t depth, ConstMatrix a, ConstMatrix b, Matrix c,
                              bool accumulate) {
  const Floats d;
  Vector sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      sum[i][j] = accumulate ? hn::Load(d, c.data + i * c.stride + j * kLanes) : hn::Zero(d);
    }
  }
  const std::int64_t row_step = kOrder == Order::rows ? a.stride : 1;
  const std::int64_t depth_step = kOrder == Order::rows ? 1 : a.stride;
  const float* HWY_RESTRICT pa = a.data;
  const float* HWY_RESTRICT pb = b.data;
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < depth; ++k, pa += depth_step, pb += b.stride) {
    Vector row[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) row[j] = hn::Load(d, pb + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vector element = hn::Set(d, pa[i * row_step]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(element, row[j], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      hn::Store(sum[i][j], d, c.data + i * c.stride + j * kLanes);
    }
  }
}

template <Order kOrder, int kRows>
void multiply_rows(int vectors, std::int64_t depth, ConstMatrix a, ConstMatrix b, Matrix c,
                   bool accumulate) {
  if constexpr (kTileVectors == 4) {
    if (vectors == 4) return multiply_tile<kOrder, kRows, 4>(depth, a, b, c, accumulate);
    if (vectors == 3) return multiply_tile<kOrder, kRows, 3>(depth, a, b, c, accumulate);
  }
  if (vectors == 2) return multiply_tile<kOrder, kRows, 2>(depth, a, b, c, accumulate);
  multiply_tile<kOrder, kRows, 1>(depth, a, b, c, accumulate);
}

/// C = (accumulate ? C : 0) + A B for at most kTileRows rows, the vectors of at most one register
/// tile and any depth.
template <Order kOrder>
HWY_INLINE void multiply_panel(std::int64_t rows, int vectors, std::int64_t depth, ConstMatrix a,
                               ConstMatrix b, Matrix c, bool accumulate) {
  switch (rows) {
    case 6: return multiply_rows<kOrder, 6>(vectors, depth, a, b, c, accumulate);
    case 5: return multiply_rows<kOrder, 5>(vectors, depth, a, b, c, accumulate);
    case 4: return multiply_rows<kOrder, 4>(vectors, depth, a, b, c, accumulate);
    case 3: return multiply_rows<kOrder, 3>(vectors, depth, a, b, c, accumulate);
    case 2: return multiply_rows<kOrder, 2>(vectors, depth, a, b, c, accumulate);
    default: return multiply_rows<kOrder, 1>(vectors, depth, a, b, c, accumulate);
  }
}

/// Calls body(first_column, vectors) for panels of at most kTileVectors vectors, of even size.
template <typename Body>
HWY_INLINE void for_each_panel(std::int64_t begin, std::int64_t end, const Body& body) {
  const std::int64_t vectors = (end - begin) / kLanes;
  const std::int64_t panels = divide_up(vectors, kTileVectors);
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t first = vectors * p / panels;
    const std::int64_t last = vectors * (p + 1) / panels;
    body(begin + first * kLanes, static_cast<int>(last - first));
  }
}

/// Scores of a block, transposed: out[s][i] = sum over j of rows[s][j] * columns[j][i] for the
/// `count` keys from `first_key` and the queries of the tile that may see them. `rows` is K (or V)
/// of the block; `columns` is [head size][kQueryTile].
inline void multiply_scores(const TileVisibility& tile, std::int64_t first_key, std::int64_t count,
                            std::int64_t head_size, ConstMatrix rows, const float* columns,
                            float* out) {
  for (std::int64_t s = 0; s < count; s += kTileRows) {
    const std::int64_t last = std::min(s + kTileRows, count);
    const auto strips = tile.strips_seeing(first_key + s, first_key + last);
    for_each_panel(
        strips.begin * kStrip, strips.end * kStrip, [&](std::int64_t column, int vectors) HWY_ATTR {
          multiply_panel<Order::rows>(
              last - s, vectors, head_size, {rows.data + s * rows.stride, rows.stride},
              {columns + column, kQueryTile}, {out + s * kQueryTile + column, kQueryTile}, false);
        });
  }
}

/// Over the keys of a block: out[i][:] += sum over s of weights[s][i] * rows[s][:], for the
/// `queries` of the tile. `rows` and `out` have `columns` columns.
inline void accumulate_queries(const TileVisibility& tile, std::int64_t first_key,
                               std::int64_t count, std::int64_t queries, const float* weights,
                               ConstMatrix rows, std::int64_t columns, Matrix out) {
  for_each_panel(0, columns, [&](std::int64_t column, int vectors) HWY_ATTR {
    for (std::int64_t i = 0; i < queries; i += kTileRows) {
      const std::int64_t last = std::min<std::int64_t>(i + kTileRows, queries);
      const auto keys = tile.keys_seen_by(i, last, first_key, first_key + count);
      if (keys.begin >= keys.end) continue;
      const std::int64_t s = keys.begin - first_key;
      multiply_panel<Order::columns>(last - i, vectors, keys.end - keys.begin,
                                     {weights + s * kQueryTile + i, kQueryTile},
                                     {rows.data + s * rows.stride + column, rows.stride},
                                     {out.data + i * out.stride + column, out.stride}, true);
    }
  });
}

/// Over the queries of a tile: out[s][:] += sum over i of weights[s][i] * rows[i][:], for the
/// `count` keys from `first_key`. `rows` and `out` have `columns` columns.
inline void accumulate_keys(const TileVisibility& tile, std::int64_t first_key, std::int64_t count,
                            std::int64_t queries, const float* weights, ConstMatrix rows,
                            std::int64_t columns, Matrix out) {
  for_each_panel(0, columns, [&](std::int64_t column, int vectors) HWY_ATTR {
    for (std::int64_t s = 0; s < count; s += kTileRows) {
      const std::int64_t last = std::min(s + kTileRows, count);
      const auto strips = tile.strips_seeing(first_key + s, first_key + last);
      const std::int64_t i = strips.begin * kStrip;
      const std::int64_t depth = std::min(strips.end * kStrip, queries) - i;
      if (depth <= 0) continue;
      multiply_panel<Order::rows>(last - s, vectors, depth,
                                  {weights + s * kQueryTile + i, kQueryTile},
                                  {rows.data + i * rows.stride + column, rows.stride},
                                  {out.data + s * out.stride + column, out.stride}, true);
    }
  });
}

/// 2^x; relative error below 2e-7; 0 below -126.5; NaN gives NaN. x must be below 128. 2^x = 2^n
/// 2^r with |r| <= 1/2 and 2^r by the minimax polynomial of degree 5 (relative error 7.5e-8).
HWY_INLINE Vector exp2(Vector x) {
  const Floats d;
  const Words dw;
  // Adding this leaves n + 127 in the low bits of the sum: the exponent field of 2^n.
  const Vector shift = hn::Set(d, 0x1.8p23f + 127.0f);
  const Vector least = hn::Set(d, -127.0f);
  x = hn::IfThenElse(hn::Lt(x, least), least, x);  // Max would lose a NaN on some targets
  const Vector shifted = hn::Add(x, shift);
  const Vector r = hn::Sub(x, hn::Sub(shifted, shift));
  const Vector power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(dw, shifted)));
  Vector p = hn::MulAdd(r, hn::Set(d, 1.327647199e-3f), hn::Set(d, 9.675541334e-3f));
  p = hn::MulAdd(r, p, hn::Set(d, 5.550713273e-2f));
  p = hn::MulAdd(r, p, hn::Set(d, 2.402211972e-1f));
  p = hn::MulAdd(r, p, hn::Set(d, 6.931469671e-1f));
  p = hn::MulAdd(r, p, hn::Set(d, 1.0f));
  return hn::Mul(p, power);
}

/// Lanes of the queries from `i` of the tile that see key `s`.
HWY_INLINE hn::Mask<Floats> sees(const TileVisibility& tile, std::int64_t i, std::int64_t s) {
  const Integers d;
  const auto key = hn::Set(d, static_cast<std::int32_t>(s));
  const auto low = hn::Load(d, tile.low + i);
  const auto high = hn::Load(d, tile.high + i);
  return hn::RebindMask(Floats(), hn::AndNot(hn::Lt(key, low), hn::Lt(key, high)));
}

}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

// What the Highway kernels of this folder share: the instruction sets they are compiled for, loads
// and stores of fp32 and bf16 as fp32 vectors, and loops with a tail of any length.
//
// A kernel file defines HWY_TARGET_INCLUDE as its own path and then includes this header, which
// brings in foreach_target.h: the file is compiled once for every instruction set and the best one
// is chosen at run time. Compiled are AVX2, AVX-512 (F, BW, DQ, VL) and the baseline. AVX-512-BF16
// is of no use here: its conversions flush subnormal numbers, ours round as base/dtype.h does.

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "base/dtype.h"

// Once for each instruction set.
#if defined(BESSEMER_KERNELS_CPU_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_SIMD_H_
#undef BESSEMER_KERNELS_CPU_SIMD_H_
#else
#define BESSEMER_KERNELS_CPU_SIMD_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using HalfTag = hn::Rebind<std::uint16_t, FloatTag>;

/// fp32 lanes of one vector.
HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(FloatTag())); }

HWY_INLINE FloatVec load(const float* p) { return hn::LoadU(FloatTag(), p); }

HWY_INLINE FloatVec load(const BFloat16* p) {
  const auto half = hn::LoadU(HalfTag(), &p->bits);
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), half)));
}

/// The bits of `v` rounded to bf16, in the low half of each lane; as BFloat16(float) does it.
HWY_INLINE hn::Vec<WordTag> bf16_bits(FloatVec v) {
  const WordTag d;
  const auto bits = hn::BitCast(d, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(d, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7fffu))));
  const auto quiet = hn::Or(high, hn::Set(d, 0x40u));
  const auto nan = hn::RebindMask(d, hn::IsNaN(v));
  return hn::IfThenElse(nan, quiet, rounded);
}

/// Rounded to bf16 and back.
HWY_INLINE FloatVec round_bf16(FloatVec v) {
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bf16_bits(v)));
}

HWY_INLINE void store(FloatVec v, float* p) { hn::StoreU(v, FloatTag(), p); }

HWY_INLINE void store(FloatVec v, BFloat16* p) {
  hn::StoreU(hn::TruncateTo(HalfTag(), bf16_bits(v)), HalfTag(), &p->bits);
}

/// How a loop body touches memory: a whole vector,
struct Whole {
  template <typename T>
  HWY_INLINE FloatVec load(const T* p) const {
    return HWY_NAMESPACE::load(p);
  }
  template <typename T>
  HWY_INLINE void store(FloatVec v, T* p) const {
    HWY_NAMESPACE::store(v, p);
  }
  HWY_INLINE FloatVec keep(FloatVec v) const { return v; }
};

/// or the first `count` lanes; loads fill the others with zero.
struct Part {
  std::size_t count;

  template <typename T>
  HWY_INLINE FloatVec load(const T* p) const {
    HWY_ALIGN T buffer[HWY_MAX_BYTES / 4] = {};
    std::memcpy(static_cast<void*>(buffer), p, count * sizeof(T));
    return HWY_NAMESPACE::load(buffer);
  }
  template <typename T>
  HWY_INLINE void store(FloatVec v, T* p) const {
    HWY_ALIGN T buffer[HWY_MAX_BYTES / 4];
    HWY_NAMESPACE::store(v, buffer);
    std::memcpy(static_cast<void*>(p), buffer, count * sizeof(T));
  }
  /// Zero in the lanes beyond.
  HWY_INLINE FloatVec keep(FloatVec v) const {
    return hn::IfThenElseZero(hn::FirstN(FloatTag(), count), v);
  }
};

/// body(i, access) for every vector of [begin, end); `access` is Whole or, for the tail, Part.
template <typename Body>
HWY_INLINE void for_each_vector(std::int64_t begin, std::int64_t end, const Body& body) {
  const std::int64_t step = lanes();
  std::int64_t i = begin;
  for (; i + step <= end; i += step) body(i, Whole{});
  if (i < end) body(i, Part{static_cast<std::size_t>(end - i)});
}

HWY_INLINE float sum_of_lanes(FloatVec v) { return hn::GetLane(hn::SumOfLanes(FloatTag(), v)); }

/// Sum of value(i, access) over [begin, end), lane by lane in four running vectors.
template <typename Value>
HWY_INLINE float sum_vectors(std::int64_t begin, std::int64_t end, const Value& value) {
  const std::int64_t step = lanes();
  const FloatVec zero = hn::Zero(FloatTag());
  FloatVec s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  std::int64_t i = begin;
  for (; i + 4 * step <= end; i += 4 * step) {
    s0 = hn::Add(s0, value(i, Whole{}));
    s1 = hn::Add(s1, value(i + step, Whole{}));
    s2 = hn::Add(s2, value(i + 2 * step, Whole{}));
    s3 = hn::Add(s3, value(i + 3 * step, Whole{}));
  }
  for (; i + step <= end; i += step) s0 = hn::Add(s0, value(i, Whole{}));
  if (i < end) {
    const Part part{static_cast<std::size_t>(end - i)};
    s1 = hn::Add(s1, part.keep(value(i, part)));
  }
  return sum_of_lanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

/// out[c] = sum over b of partials[b, c], in the order of b, for c in [begin, end).
template <typename T>
void sum_partials(const float* partials, std::int64_t count, std::int64_t width, T* out,
                  std::int64_t begin, std::int64_t end) {
  for_each_vector(begin, end, [&](std::int64_t c, auto access) {
    FloatVec sum = hn::Zero(FloatTag());
    for (std::int64_t b = 0; b < count; ++b) {
      sum = hn::Add(sum, access.load(partials + b * width + c));
    }
    access.store(sum, out + c);
  });
}

}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

// Vectors of fp32 from and to memory of fp32 or bf16, whole or partial. Included once for each
// instruction set.
#if defined(BESSEMER_KERNELS_CPU_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_CONVERT_INL_H_
#undef BESSEMER_KERNELS_CPU_CONVERT_INL_H_
#else
#define BESSEMER_KERNELS_CPU_CONVERT_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const float* p) {
  return hn::LoadU(d, p);
}

template <class D>
HWY_INLINE hn::Vec<D> load_floats(D d, const BFloat16* p) {
  const hn::Rebind<std::uint16_t, D> du16;
  const hn::RebindToUnsigned<D> du32;
  const auto bits = hn::LoadU(du16, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du32, bits)));
}

template <class D>
HWY_INLINE void store_floats(D d, hn::Vec<D> v, float* p) {
  hn::StoreU(v, d, p);
}

/// Rounds to nearest, ties to even; a NaN stays one.
template <class D>
HWY_INLINE void store_floats(D /*d*/, hn::Vec<D> v, BFloat16* p) {
  const hn::Rebind<std::uint16_t, D> du16;
  const hn::RebindToUnsigned<D> du32;
  const hn::RebindToSigned<D> di32;
  const auto u = hn::BitCast(du32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du32, 1));
  const auto rounded = hn::Add(u, hn::Add(odd, hn::Set(du32, 0x7fff)));
  const auto nan = hn::RebindMask(du32, hn::IsNaN(v));
  const auto bits = hn::IfThenElse(nan, hn::Or(u, hn::Set(du32, 0x400000)), rounded);
  const auto high = hn::BitCast(di32, hn::ShiftRight<16>(bits));
  hn::StoreU(hn::DemoteTo(du16, high), du16, reinterpret_cast<std::uint16_t*>(p));
}

/// The first `count` lanes from memory, zeros beyond; reads nothing past them.
template <class D, typename T>
HWY_INLINE hn::Vec<D> load_some(D d, const T* p, std::int64_t count) {
  if (count >= static_cast<std::int64_t>(hn::Lanes(d))) return load_floats(d, p);
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  if (count > 0) std::memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(T));
  return load_floats(d, lanes);
}

/// Stores the first `count` lanes; writes nothing past them.
template <class D, typename T>
HWY_INLINE void store_some(D d, hn::Vec<D> v, T* p, std::int64_t count) {
  if (count >= static_cast<std::int64_t>(hn::Lanes(d))) return store_floats(d, v, p);
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  store_floats(d, v, lanes);
  if (count > 0) std::memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace HWY_NAMESPACE
}  // namespace bessemer::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif

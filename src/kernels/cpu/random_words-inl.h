// The words of base/rng.h, a Philox block in every 64-bit lane. Included once for each instruction
// set.
#if defined(BESSEMER_KERNELS_CPU_RANDOM_WORDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_RANDOM_WORDS_INL_H_
#undef BESSEMER_KERNELS_CPU_RANDOM_WORDS_INL_H_
#else
#define BESSEMER_KERNELS_CPU_RANDOM_WORDS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "base/rng.h"
#include "hwy/highway.h"
#include "kernels/prepare.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

inline void random_words(const CounterRng& rng, std::uint64_t block, std::uint32_t* words) {
  for (std::int64_t i = 0; i < kRandomWords; i += 4, ++block) {
    const PhiloxCounter four = rng.block(block);
    std::copy(four.begin(), four.end(), words + i);
  }
}

#else

/// The words of kRandomWords / 4 consecutive Philox blocks. A 64-bit lane computes one block; only
/// the low half of each counter word is meant, and multiplication reads no more.
inline void random_words(const CounterRng& rng, std::uint64_t block, std::uint32_t* words) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::RepartitionToNarrow<decltype(d)> d32;
  const auto low = hn::Set(d, 0xffffffffu);
  const auto multiplier0 = hn::Set(d32, 0xD2511F53u), multiplier1 = hn::Set(d32, 0xCD9E8D57u);
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kRandomWords; i += 4 * step) {
    const auto index = hn::Iota(d, block + static_cast<std::uint64_t>(i / 4));
    auto c0 = index, c1 = hn::ShiftRight<32>(index);
    auto c2 = hn::Set(d, std::uint64_t{rng.step()}), c3 = hn::Set(d, std::uint64_t{rng.site()});
    PhiloxKey key = rng.key();
    for (int round = 0; round < 10; ++round) {
      const auto p0 = hn::MulEven(hn::BitCast(d32, c0), multiplier0);
      const auto p1 = hn::MulEven(hn::BitCast(d32, c2), multiplier1);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, std::uint64_t{key[0]}));
      c1 = p1;
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, std::uint64_t{key[1]}));
      c3 = p0;
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    const auto first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
    const auto second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<std::uint64_t*>(words + i));
  }
}

#endif

}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

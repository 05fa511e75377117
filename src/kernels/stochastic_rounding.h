// Stochastic rounding to bf16 (Gupta et al., "Deep learning with limited numerical precision", ICML
// 2015): up or down at random, the nearer neighbour the likelier, so that the mean is the number
// itself. An update far smaller than the distance of two bf16 numbers is then not lost: it takes
// the parameter to the next one, seldom enough. The one definition, shared by every kernel of
// adamw_update, so that all of them draw the same bits wherever an element lies.
//
//   bits of element i = half i % 2, the lower one first, of
//                       CounterRng(seed, fold(step, kUpdate), site).word(i / 2)
//
// Eight consecutive elements share one Philox block.
#pragma once

#include <bit>
#include <cstdint>

#include "base/dtype.h"
#include "base/rng.h"
#include "kernels/dropout_mask.h"

namespace bessemer::kernels {

/// In the place of a micro-batch's number: what an update draws is not what a dropout draws.
inline constexpr std::int64_t kUpdate = -1;

/// Elements that draw from one Philox block.
inline constexpr std::int64_t kElementsOfBlock = 8;

/// Where the elements of a tensor draw in one step.
constexpr CounterRng rounding_rng(std::int64_t seed, std::int64_t step, std::int64_t site) {
  return {static_cast<std::uint64_t>(seed), fold(step, kUpdate), static_cast<std::uint32_t>(site)};
}

/// The 16 bits of the element with that index in the whole tensor.
constexpr std::uint32_t rounding_bits(const CounterRng& rng, std::uint64_t index) {
  return rng.word(index / 2) >> (16 * (index % 2)) & 0xffffu;
}

/// `x` rounded by 16 random bits, which are added below those that stay. What is not finite stays
/// so.
constexpr BFloat16 round_stochastically(float x, std::uint32_t random) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return BFloat16(x);
  BFloat16 rounded;
  rounded.bits = static_cast<std::uint16_t>((bits + random) >> 16);
  return rounded;
}

}  // namespace bessemer::kernels

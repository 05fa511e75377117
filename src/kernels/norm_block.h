// The partial sums that the global norm is made of.
#pragma once

#include <cstdint>

#include "base/rounding.h"

namespace bessemer::kernels {

/// Elements of one partial sum. A tensor that is cut at multiples of this has the partial sums of
/// the whole, so that a norm taken piece by piece has the same bits.
inline constexpr std::int64_t kNormBlock = 32768;

inline std::int64_t norm_blocks(std::int64_t elements) { return divide_up(elements, kNormBlock); }

}  // namespace bessemer::kernels

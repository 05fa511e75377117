// Division of indices by a number that the host knows: a multiplication and a shift, where the
// device's own division takes some twenty instructions (Granlund and Montgomery, "Division by
// invariant integers using multiplication", 1994).
#pragma once

#include <bit>
#include <cstdint>

#include "base/error.h"

namespace bessemer::kernels::cuda {

class Divisor {
 public:
  /// Indices are below this.
  static constexpr std::int64_t kLimit = std::int64_t{1} << 31;

  Divisor() = default;
  explicit Divisor(std::int64_t divisor) : divisor_(static_cast<std::uint32_t>(divisor)) {
    require(0 < divisor && divisor < kLimit, "a divisor of indices is {}", divisor);
    shift_ = 31 + std::bit_width(divisor_ - 1);
    factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << shift_) + divisor_ - 1) / divisor_);
  }

  constexpr std::uint32_t divisor() const { return divisor_; }
  /// index / divisor.
  constexpr std::uint32_t quotient(std::uint32_t index) const {
    return static_cast<std::uint32_t>((std::uint64_t{index} * factor_) >> shift_);
  }

 private:
  std::uint32_t divisor_ = 1;
  std::uint32_t factor_ = std::uint32_t{1} << 31;  // 2^shift / divisor, rounded up
  int shift_ = 31;
};

}  // namespace bessemer::kernels::cuda

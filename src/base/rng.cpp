#include "base/rng.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace bessemer {

double CounterRng::normal(std::uint64_t index) const {
  const PhiloxCounter words = block(index >> 1);
  const std::uint32_t a = words[(index & 1) * 2];
  const std::uint32_t b = words[(index & 1) * 2 + 1];
  const double u = (static_cast<double>(a) + 1.0) * 0x1p-32;  // in (0, 1]: the logarithm is finite
  const double v = static_cast<double>(b) * 0x1p-32;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

Permutation::Permutation(std::uint64_t n, std::uint64_t seed)
    : n_(n), key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)} {
  require(n > 0, "a permutation of nothing");
  const int bits = std::bit_width(n - 1);
  half_bits_ = bits < 2 ? 1 : (bits + 1) / 2;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  require(index < n_, "permutation index {} of {}", index, n_);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t x = index;
  do {
    std::uint64_t left = x >> half_bits_;
    std::uint64_t right = x & mask;
    for (std::uint32_t round = 0; round < 4; ++round) {
      const PhiloxCounter words = philox(
          {static_cast<std::uint32_t>(right), static_cast<std::uint32_t>(right >> 32), round, 0},
          key_);
      const std::uint64_t f = (std::uint64_t{words[1]} << 32 | words[0]) & mask;
      left ^= f;
      std::swap(left, right);
    }
    x = left << half_bits_ | right;
  } while (x >= n_);
  return x;
}

}  // namespace bessemer

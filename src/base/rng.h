// Counter-based random numbers: a value is a pure function of (seed, step, site, index), never of
// how many were drawn before. That is what makes resume, recomputation and resharding exact.
//
// Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>

namespace bessemer {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// A stream of numbers addressed by index. `site` tells apart the places that draw in one step
/// (a dropout, an initialiser); `step` may carry (step, micro-batch) folded by `fold`.
class CounterRng {
 public:
  constexpr CounterRng(std::uint64_t seed, std::uint32_t step, std::uint32_t site)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        step_(step),
        site_(site) {}

  constexpr PhiloxKey key() const { return key_; }
  constexpr std::uint32_t step() const { return step_; }
  constexpr std::uint32_t site() const { return site_; }

  /// Four independent 32-bit words for block `block`.
  constexpr PhiloxCounter block(std::uint64_t block) const {
    return philox(
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step_, site_},
        key_);
  }

  /// The 32-bit word at `index`.
  constexpr std::uint32_t word(std::uint64_t index) const { return block(index >> 2)[index & 3]; }

  /// Uniform in [0, 1), 24 bits.
  constexpr float uniform(std::uint64_t index) const {
    return static_cast<float>(word(index) >> 8) * 0x1p-24f;
  }

  /// Standard normal (Box-Muller on the two halves of a block), one per index.
  double normal(std::uint64_t index) const;

 private:
  PhiloxKey key_;
  std::uint32_t step_;
  std::uint32_t site_;
};

/// A bijection of [0, n) drawn by `seed`, evaluated at one point in O(1): a Feistel network over
/// the next power of four, walked until it lands inside (Black and Rogaway, "Ciphers with
/// arbitrary finite domains", CT-RSA 2002).
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed);
  std::uint64_t operator()(std::uint64_t index) const;
  std::uint64_t size() const { return n_; }

 private:
  std::uint64_t n_;
  PhiloxKey key_;
  int half_bits_;
};

}  // namespace bessemer

// Which elements a dropout keeps: the one definition, shared by every kernel that drops, so that
// the reference and the fast kernels, the forward and the backward pass, and a recomputation of
// either agree on every element.
//
//   keep(index) = CounterRng(seed, fold(step, micro_batch), site).word(index) >= threshold(p)
//
// `index` is the row-major element index for the op `dropout`. For the probabilities of `attention`
// it is attention_dropout_index below. Four consecutive indices share one Philox block.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "base/rng.h"

namespace bessemer::kernels {

/// The step word of CounterRng for one micro-batch of one step. Both are hashed to 32 bits with the
/// finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Two pairs share a word with
/// probability 2^-32: they then share a mask, which does no harm.
constexpr std::uint32_t fold(std::int64_t step, std::int64_t micro_batch) {
  const auto mix = [](std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  };
  const std::uint64_t mixed =
      mix(mix(static_cast<std::uint64_t>(step)) ^ static_cast<std::uint64_t>(micro_batch));
  return static_cast<std::uint32_t>(mixed >> 32);
}

/// How many of the 2^32 words mean "drop": p * 2^32, rounded. 0 keeps everything. Error unless
/// 0 <= p < 1.
inline std::uint32_t threshold(double probability) {
  require(probability >= 0 && probability < 1, "dropout probability {}: expected 0 <= p < 1",
          probability);
  const double words = std::nearbyint(probability * 0x1p32);
  return words >= 0x1p32 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(words);
}

/// What a kept element is multiplied by, so that the expectation stays.
inline double keep_scale(double probability) { return 1.0 / (1.0 - probability); }

class DropoutMask {
 public:
  /// `counter` is the op's operand int64[3]: seed, step, micro-batch.
  DropoutMask(const std::int64_t* counter, std::uint32_t site, double probability)
      : rng_(static_cast<std::uint64_t>(counter[0]), fold(counter[1], counter[2]), site),
        threshold_(threshold(probability)) {}

  bool keep(std::uint64_t index) const { return rng_.word(index) >= threshold_; }

  /// For kernels that take a Philox block, four consecutive indices, at a time:
  /// keep(4 * i + j) == rng().block(i)[j] >= drop_below().
  const CounterRng& rng() const { return rng_; }
  std::uint32_t drop_below() const { return threshold_; }

 private:
  CounterRng rng_;
  std::uint32_t threshold_;
};

/// Index of the probability of query `t` and key `s` under head `h` of sequence `b`.
constexpr std::uint64_t attention_dropout_index(std::int64_t b, std::int64_t h, std::int64_t t,
                                                std::int64_t s, std::int64_t heads,
                                                std::int64_t queries, std::int64_t keys) {
  return static_cast<std::uint64_t>(((b * heads + h) * queries + t) * keys + s);
}

}  // namespace bessemer::kernels

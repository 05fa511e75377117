// Whose turn it is, by weight.
//
// Weights become integers q with sum D: the exact ones where a D up to 4096 has them (0.5, 0.3,
// 0.2 is 5, 3, 2 of 10), else the nearest with a larger D. A table of D entries, made once, says
// whose turn it is at N mod D; it is Tijdeman's schedule ("The chairman assignment problem",
// Discrete Mathematics 32, 1980), in which after any N turns a source of share q/D had within 1 of
// N·q/D. Source s's own index at N is (N div D)·q_s plus its turns in the table before N mod D, so
// a lookup is O(1) and nothing is replayed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bessemer::data {

class Interleave {
 public:
  static constexpr std::uint64_t kFinePeriod = std::uint64_t{1} << 20;

  /// `period` is D where no small one is exact. InputError unless every weight is finite and above
  /// 0.
  explicit Interleave(std::span<const double> weights, std::uint64_t period = kFinePeriod);

  struct Turn {
    std::uint32_t source = 0;
    std::uint64_t index = 0;  // how many turns this source had before
  };
  Turn operator()(std::uint64_t n) const;

  /// Turns of a source among the first n. O(D).
  std::uint64_t turns(std::uint32_t source, std::uint64_t n) const;

  /// The n at which the source has its turn of that index. O(D).
  std::uint64_t when(std::uint32_t source, std::uint64_t index) const;

  /// The integer weights and their sum.
  const std::vector<std::uint64_t>& quotas() const { return quotas_; }
  std::uint64_t period() const { return table_.size(); }

 private:
  struct Entry {
    std::uint32_t source, before;
  };
  std::vector<std::uint64_t> quotas_;
  std::vector<Entry> table_;
};

}  // namespace bessemer::data

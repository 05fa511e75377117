#include "data/interleave.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace bessemer::data {
namespace {

constexpr std::uint64_t kLargestExactPeriod = 4096;

/// Integer weights with sum `period`, each at least 1: by largest remainder.
std::vector<std::uint64_t> round_to(std::span<const double> shares, std::uint64_t period) {
  std::vector<std::uint64_t> quotas;
  for (const double share : shares) {
    const double wanted = share * static_cast<double>(period);
    quotas.push_back(std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted)));
  }
  const auto excess = [&](std::size_t s) {
    return static_cast<double>(quotas[s]) - shares[s] * static_cast<double>(period);
  };
  const auto sum = [&] { return std::accumulate(quotas.begin(), quotas.end(), std::uint64_t{0}); };
  for (std::uint64_t have = sum(); have != period;) {
    std::size_t chosen = quotas.size();
    for (std::size_t s = 0; s < quotas.size(); ++s) {
      if (have > period && quotas[s] == 1) continue;
      const bool better = chosen == quotas.size() ||
                          (have < period ? excess(s) < excess(chosen) : excess(s) > excess(chosen));
      if (better) chosen = s;
    }
    quotas[chosen] += have < period ? 1 : std::uint64_t(-1);
    have += have < period ? 1 : std::uint64_t(-1);
  }
  return quotas;
}

bool exact(std::span<const double> shares, std::uint64_t period) {
  return std::all_of(shares.begin(), shares.end(), [&](double share) {
    const double wanted = share * static_cast<double>(period);
    return wanted > 0.5 &&
           std::abs(wanted - std::round(wanted)) < 1e-9 * static_cast<double>(period);
  });
}

std::vector<std::uint64_t> integer_weights(std::span<const double> weights, std::uint64_t fine) {
  double sum = 0;
  for (const double weight : weights) {
    require_input(std::isfinite(weight) && weight > 0,
                  "source weight {}: expected a finite number above 0; leave a source out to skip "
                  "it",
                  weight);
    sum += weight;
  }
  require_input(std::isfinite(sum) && weights.size() < kLargestExactPeriod,
                "{} source weights with sum {}: too many or too large", weights.size(), sum);
  std::vector<double> shares;
  for (const double weight : weights) shares.push_back(weight / sum);
  std::uint64_t period = weights.size();
  while (period <= kLargestExactPeriod && !exact(shares, period)) ++period;
  return round_to(shares, period <= kLargestExactPeriod ? period : fine);
}

}  // namespace

Interleave::Interleave(std::span<const double> weights, std::uint64_t fine)
    : quotas_(integer_weights(weights, fine)) {
  require(!quotas_.empty(), "a mixture of nothing");
  const auto sources = static_cast<std::int64_t>(quotas_.size());
  const auto period =
      static_cast<std::int64_t>(std::accumulate(quotas_.begin(), quotas_.end(), std::uint64_t{0}));
  std::vector<std::int64_t> turns(quotas_.size(), 0);
  table_.reserve(static_cast<std::size_t>(period));
  const std::int64_t scale = 2 * std::max<std::int64_t>(sources - 1, 1);
  for (std::int64_t n = 1; n <= period; ++n) {
    // In units of 1/(D·scale): due = how far a source lags behind its share at n. Those that lag
    // by 1/scale at least may go; the one that must go soonest does.
    std::size_t chosen = quotas_.size();
    double soonest = 0;
    for (std::size_t s = 0; s < quotas_.size(); ++s) {
      const auto quota = static_cast<std::int64_t>(quotas_[s]);
      const std::int64_t due = (n * quota - turns[s] * period) * scale;
      if (due < period) continue;
      const double slack =
          static_cast<double>((scale - 1) * period - due) / static_cast<double>(quota);
      if (chosen == quotas_.size() || slack < soonest) chosen = s, soonest = slack;
    }
    require(chosen < quotas_.size(), "the interleave of {} sources has a gap at {}", sources, n);
    table_.push_back(
        {static_cast<std::uint32_t>(chosen), static_cast<std::uint32_t>(turns[chosen]++)});
  }
}

Interleave::Turn Interleave::operator()(std::uint64_t n) const {
  const Entry& entry = table_[n % table_.size()];
  return {entry.source, n / table_.size() * quotas_[entry.source] + entry.before};
}

std::uint64_t Interleave::turns(std::uint32_t source, std::uint64_t n) const {
  std::uint64_t count = n / period() * quotas_[source];
  for (std::uint64_t i = 0; i < n % period(); ++i) count += table_[i].source == source ? 1 : 0;
  return count;
}

std::uint64_t Interleave::when(std::uint32_t source, std::uint64_t index) const {
  const std::uint64_t within = index % quotas_[source];
  const auto at = std::find_if(table_.begin(), table_.end(), [&](const Entry& entry) {
    return entry.source == source && entry.before == within;
  });
  return index / quotas_[source] * period() + static_cast<std::uint64_t>(at - table_.begin());
}

}  // namespace bessemer::data

#include "data/mixture_schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bessemer::data {
namespace {

constexpr std::uint64_t kRampPieces = 64;
constexpr std::uint64_t kRampPeriod = 4096;  // a table of 32 KiB; shares to 1/8192

std::vector<double> between(const std::vector<double>& a, const std::vector<double>& b,
                            double share) {
  std::vector<double> weights(a.size());
  for (std::size_t s = 0; s < a.size(); ++s) weights[s] = a[s] + share * (b[s] - a[s]);
  return weights;
}

void check_weights(const std::vector<double>& weights, std::size_t sources) {
  require(weights.size() == sources, "a stage has {} weights for {} sources", weights.size(),
          sources);
  double sum = 0;
  for (const double weight : weights) {
    require_input(std::isfinite(weight) && weight >= 0,
                  "source weight {}: expected a finite number, 0 or more", weight);
    sum += weight;
  }
  require_input(std::isfinite(sum) && sum > 0,
                "the weights of all sources are 0 at some step, or too large");
}

}  // namespace

MixtureSchedule::MixtureSchedule(const std::vector<MixtureStage>& stages,
                                 const std::vector<std::uint64_t>& limits) {
  require(!stages.empty() && stages.front().first == 0 && stages.back().to.empty(),
          "a mixture must have a stage from 0 on and one that stays");
  for (std::size_t i = 0; i < stages.size() && end_ == kEndless; ++i) {
    const MixtureStage& stage = stages[i];
    const std::uint64_t end = i + 1 < stages.size() ? stages[i + 1].first : kEndless;
    require(stage.first < end, "mixture stages do not ascend");
    check_weights(stage.weights, limits.size());
    if (stage.to.empty()) {
      add_weights(stage.first, end, stage.weights, limits);
      continue;
    }
    check_weights(stage.to, limits.size());
    const std::uint64_t length = end - stage.first, pieces = std::min(length, kRampPieces);
    for (std::uint64_t k = 0; k < pieces && end_ == kEndless; ++k) {
      const auto at = [&](std::uint64_t piece) {
        return stage.first + length / pieces * piece + length % pieces * piece / pieces;
      };
      const double share = (static_cast<double>(k) + 0.5) / static_cast<double>(pieces);
      add_weights(at(k), at(k + 1), between(stage.weights, stage.to, share), limits);
    }
  }
}

// Pieces of these weights until `end`: a new one wherever a source reaches its limit.
void MixtureSchedule::add_weights(std::uint64_t first, std::uint64_t end,
                                  const std::vector<double>& weights,
                                  const std::vector<std::uint64_t>& limits) {
  while (first < end && end_ == kEndless) first = add_piece(first, end, weights, limits);
}

// One piece, and where it ends. Without a source left the mixture ends.
std::uint64_t MixtureSchedule::add_piece(std::uint64_t first, std::uint64_t end,
                                         const std::vector<double>& weights,
                                         const std::vector<std::uint64_t>& limits) {
  const std::vector<std::uint64_t> before = pieces_.empty()
                                                ? std::vector<std::uint64_t>(limits.size(), 0)
                                                : turns_in(pieces_.back(), first);
  std::vector<std::uint32_t> sources;
  std::vector<double> left;
  for (std::uint32_t s = 0; s < weights.size(); ++s) {
    if (weights[s] <= 0 || before[s] >= limits[s]) continue;
    sources.push_back(s);
    left.push_back(weights[s]);
  }
  if (sources.empty()) {
    require_input(first > 0, "every source has max_epochs = 0, or weight 0");
    return end_ = first;
  }
  const bool long_lasting = end == kEndless;
  Interleave interleave(left, long_lasting ? Interleave::kFinePeriod : kRampPeriod);
  for (std::uint32_t i = 0; i < sources.size(); ++i) {
    const std::uint64_t limit = limits[sources[i]];
    if (limit == kEndless) continue;
    const std::uint64_t last = interleave.when(i, limit - before[sources[i]] - 1);
    if (last < end - first) end = first + last + 1;
  }
  pieces_.push_back({first, std::move(sources), std::move(interleave), before});
  return end;
}

std::vector<std::uint64_t> MixtureSchedule::turns_in(const Piece& piece, std::uint64_t n) const {
  std::vector<std::uint64_t> turns = piece.before;
  for (std::uint32_t i = 0; i < piece.sources.size(); ++i) {
    turns[piece.sources[i]] += piece.interleave.turns(i, n - piece.first);
  }
  return turns;
}

const MixtureSchedule::Piece& MixtureSchedule::piece_at(std::uint64_t n) const {
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), n,
                       [](std::uint64_t at, const Piece& piece) { return at < piece.first; });
  return *std::prev(after);
}

Interleave::Turn MixtureSchedule::operator()(std::uint64_t n) const {
  require(n < end_, "sequence {} of a mixture that ends at {}", n, end_);
  const Piece& piece = piece_at(n);
  const Interleave::Turn turn = piece.interleave(n - piece.first);
  const std::uint32_t source = piece.sources[turn.source];
  return {source, piece.before[source] + turn.index};
}

std::vector<std::uint64_t> MixtureSchedule::turns(std::uint64_t n) const {
  require(n <= end_, "sequence {} of a mixture that ends at {}", n, end_);
  return turns_in(piece_at(n), n);
}

}  // namespace bessemer::data

// Several sources by weight.
//
// Weights become integers q with sum D: the exact ones where a D up to 4096 has them (0.5, 0.3,
// 0.2 is 5, 3, 2 of 10), else the nearest with D = 2^20. A table of D entries, made once, says
// whose turn it is at N mod D; it is Tijdeman's schedule ("The chairman assignment problem",
// Discrete Mathematics 32, 1980), in which after any N turns a source of share q/D had within 1 of
// N·q/D. Source s's own index at N is (N div D)·q_s plus its turns in the table before N mod D, so
// a lookup is O(1) and nothing is replayed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace bessemer::data {

/// Whose turn it is at N.
class Interleave {
 public:
  /// InputError unless every weight is finite and above 0.
  explicit Interleave(std::span<const double> weights);

  struct Turn {
    std::uint32_t source = 0;
    std::uint64_t index = 0;  // how many turns this source had before
  };
  Turn operator()(std::uint64_t n) const;

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

class Mixture final : public SequenceSource {
 public:
  /// Sources of one sequence length, with as many weights.
  Mixture(std::vector<std::shared_ptr<const SequenceSource>> sources,
          std::span<const double> weights);

  std::int64_t sequence_length() const override { return sources_.front()->sequence_length(); }
  std::int64_t read(std::uint64_t index, const SequenceView& out) const override;
  void visit(std::uint64_t index, const OriginVisitor& visitor) const override;
  const Interleave& interleave() const { return interleave_; }

 private:
  std::vector<std::shared_ptr<const SequenceSource>> sources_;
  Interleave interleave_;
};

}  // namespace bessemer::data

// Which source gives sequence N, where the weights change as training goes on.
//
// The run is cut into pieces of constant weights, each with an Interleave of its own and the turns
// that every source had before it: a lookup is a binary search over the pieces. A ramp is many
// pieces; a source that reaches its limit ends one.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "data/interleave.h"

namespace bessemer::data {

/// Weights from sequence `first` to the next stage: one for each source, 0 for one that is not in
/// it. With `to` they move there linearly over the stage.
struct MixtureStage {
  std::uint64_t first = 0;
  std::vector<double> weights;
  std::vector<double> to = {};
};

class MixtureSchedule {
 public:
  static constexpr std::uint64_t kEndless = std::numeric_limits<std::uint64_t>::max();

  /// `stages` begin at 0 and ascend, and the last moves nowhere; `limits` are the sequences that
  /// each source may give (kEndless: any number). A source at its limit drops out and the others
  /// share its turns by their weights. InputError for weights that are no weights, or all 0.
  MixtureSchedule(const std::vector<MixtureStage>& stages,
                  const std::vector<std::uint64_t>& limits);

  /// Sequences in all: kEndless, or where every source with a weight has reached its limit.
  std::uint64_t sequences() const { return end_; }

  /// n < sequences().
  Interleave::Turn operator()(std::uint64_t n) const;

  /// Turns of every source among the first n <= sequences().
  std::vector<std::uint64_t> turns(std::uint64_t n) const;

 private:
  struct Piece {
    std::uint64_t first = 0;
    std::vector<std::uint32_t> sources;  // that take part
    Interleave interleave;
    std::vector<std::uint64_t> before;  // turns of every source, those that do not take part too
  };
  const Piece& piece_at(std::uint64_t n) const;
  std::vector<std::uint64_t> turns_in(const Piece& piece, std::uint64_t n) const;
  std::uint64_t add_piece(std::uint64_t first, std::uint64_t end,
                          const std::vector<double>& weights,
                          const std::vector<std::uint64_t>& limits);
  void add_weights(std::uint64_t first, std::uint64_t end, const std::vector<double>& weights,
                   const std::vector<std::uint64_t>& limits);

  std::vector<Piece> pieces_;
  std::uint64_t end_ = kEndless;
};

}  // namespace bessemer::data

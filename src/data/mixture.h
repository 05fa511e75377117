// Several sources as one, by a schedule.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "data/mixture_schedule.h"

namespace bessemer::data {

class Mixture final : public SequenceSource {
 public:
  /// Sources of one sequence length, as many as the schedule is for.
  Mixture(std::vector<std::shared_ptr<const SequenceSource>> sources, MixtureSchedule schedule);

  std::int64_t sequence_length() const override { return sources_.front()->sequence_length(); }
  std::int64_t read(std::uint64_t index, const SequenceView& out) const override;
  void visit(std::uint64_t index, const OriginVisitor& visitor) const override;
  const MixtureSchedule& schedule() const { return schedule_; }
  const std::vector<std::shared_ptr<const SequenceSource>>& sources() const { return sources_; }

 private:
  std::vector<std::shared_ptr<const SequenceSource>> sources_;
  MixtureSchedule schedule_;
};

/// A source by itself, without an end.
std::shared_ptr<const Mixture> alone(std::shared_ptr<const SequenceSource> source);

}  // namespace bessemer::data

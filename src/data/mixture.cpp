#include "data/mixture.h"

#include "base/error.h"

namespace bessemer::data {

Mixture::Mixture(std::vector<std::shared_ptr<const SequenceSource>> sources,
                 MixtureSchedule schedule)
    : sources_(std::move(sources)), schedule_(std::move(schedule)) {
  require(sources_.size() == schedule_.turns(0).size() && !sources_.empty(),
          "{} sources with a schedule for {}", sources_.size(), schedule_.turns(0).size());
  for (const auto& source : sources_) {
    require(source->sequence_length() == sequence_length(), "sources of lengths {} and {}",
            source->sequence_length(), sequence_length());
  }
}

std::int64_t Mixture::read(std::uint64_t index, const SequenceView& out) const {
  const Interleave::Turn turn = schedule_(index);
  return sources_[turn.source]->read(turn.index, out);
}

void Mixture::visit(std::uint64_t index, const OriginVisitor& visitor) const {
  const Interleave::Turn turn = schedule_(index);
  sources_[turn.source]->visit(turn.index, visitor);
}

std::shared_ptr<const Mixture> alone(std::shared_ptr<const SequenceSource> source) {
  const std::vector<std::uint64_t> endless{MixtureSchedule::kEndless};
  return std::make_shared<const Mixture>(
      std::vector<std::shared_ptr<const SequenceSource>>{std::move(source)},
      MixtureSchedule({{0, {1}}}, endless));
}

}  // namespace bessemer::data

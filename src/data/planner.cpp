#include "data/planner.h"

#include <numeric>

#include "base/error.h"

namespace bessemer::data {

Planner::Planner(std::shared_ptr<const Mixture> mixture, PlannerOptions options)
    : mixture_(std::move(mixture)), options_(options), order_(sequences_per_step()) {
  std::iota(order_.begin(), order_.end(), 0u);
}

void Planner::plan(std::uint64_t first) {
  const std::uint64_t end = mixture_->schedule().sequences();
  require_input(first <= end && sequences_per_step() <= end - first,
                "the data ends with sequence {}, within the step that begins with {}: every source "
                "has been read max_epochs times then",
                end, first);
  first_ = first;
  if (options_.balance == Balance::round_robin || options_.shape.ranks == 1) return;
  std::vector<double> costs(order_.size());
  std::vector<std::int64_t> parts;
  for (std::size_t i = 0; i < costs.size(); ++i) {
    parts.clear();
    mixture_->visit(first + i, [&](const Origin& origin) { parts.push_back(origin.count); });
    costs[i] = options_.cost(parts);
  }
  order_ = balance(costs, options_.shape, options_.balance);
}

PlannedRow Planner::row(std::int64_t rank, std::int64_t m, std::int64_t b) const {
  const auto place = static_cast<std::size_t>(options_.shape.place(rank, m, b));
  const std::uint64_t sequence = first_ + order_[place];
  const Interleave::Turn turn = mixture_->schedule()(sequence);
  return {sequence, turn.source, turn.index};
}

}  // namespace bessemer::data

#include "passes/recompute_frontier.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "cost/node_seconds.h"
#include "passes/recompute.h"
#include "passes/recompute_cut.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

class Search {
 public:
  Search(const ir::Graph& graph, const cost::MachineDescription& machine, const PeakOf& peak_of,
         const FrontierOptions& options)
      : graph_(graph),
        peak_of_(peak_of),
        options_(options),
        stash_(graph),
        seconds_(cost::node_seconds(graph, machine)) {}

  std::vector<RecomputePoint> run() {
    consider(stash_.everything());
    if (stash_.candidates().size() <= options_.exhaustive) {
      consider_all_subsets();
      return non_dominated(points_);
    }
    for (const auto policy : {RecomputePolicy::selective, RecomputePolicy::full}) {
      consider(kept_by(policy, graph_));
    }
    const std::vector<ValueId> waists = stash_.waists();
    for (std::size_t length = 1; length == 1 || length * length <= waists.size(); length *= 2) {
      consider_chain(stretches(waists, length));
    }
    points_ = some(non_dominated(std::move(points_)));
    undo_what_is_in_vain(stretches(waists, 1));
    return non_dominated(std::move(points_));
  }

 private:
  // Forward in stretches of `length` blocks each, cut at waists.
  std::vector<Stretch> stretches(const std::vector<ValueId>& waists, std::size_t length) const {
    std::vector<Stretch> all;
    int begin = 0;
    ValueId entry = kAbsent;
    for (std::size_t i = length - 1; i < waists.size(); i += length) {
      const int end = stash_.made_by(waists[i]) + 1;
      all.push_back({begin, end, waists[i], entry});
      begin = end;
      entry = waists[i];
    }
    all.push_back({begin, stash_.turn(), kAbsent, entry});
    return all;
  }

  // One step along the frontier of a stretch: to its option `to`.
  struct Move {
    std::size_t stretch;
    std::size_t to;
    double saved_bytes;
    double seconds_per_byte;
  };

  void consider_chain(const std::vector<Stretch>& stretches) {
    std::vector<std::vector<CutOption>> frontiers;
    std::vector<Move> moves;
    double all_saved = 0, saved_since = 0;
    for (std::size_t s = 0; s < stretches.size(); ++s) {
      frontiers.push_back(cut_frontier(graph_, stash_, stretches[s], seconds_));
      for (std::size_t to = 1; to < frontiers[s].size(); ++to) {
        const CutOption &from = frontiers[s][to - 1], &next = frontiers[s][to];
        const double saved = from.bytes - next.bytes;
        moves.push_back({s, to, saved, (next.seconds - from.seconds) / saved});
        all_saved += saved;
      }
    }
    std::stable_sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) {
      return a.seconds_per_byte < b.seconds_per_byte;
    });
    const double step = all_saved / static_cast<double>(options_.steps);
    const std::size_t shorter = points_.size();
    Kept kept = stash_.everything();
    for (std::size_t m = 0; m < moves.size(); ++m) {
      apply(frontiers[moves[m].stretch][moves[m].to], stretches[moves[m].stretch], kept);
      saved_since += moves[m].saved_bytes;
      if (saved_since < step && m + 1 < moves.size()) continue;
      saved_since = 0;
      consider_if_it_may_be_better(kept, shorter);
    }
  }

  void apply(const CutOption& option, const Stretch& stretch, Kept& kept) const {
    for_each_candidate(stretch, [&](ValueId v) { kept[index(v)] = v == stretch.fixed; });
    for (const ValueId v : option.kept) kept[index(v)] = true;
  }

  template <typename Visit>
  void for_each_candidate(const Stretch& stretch, const Visit& visit) const {
    for (int i = stretch.begin; i < stretch.end; ++i) {
      for (const ValueId v : graph_.nodes()[index(i)].results) {
        if (stash_.is_candidate(v)) visit(v);
      }
    }
  }

  void consider_all_subsets() {
    const std::vector<ValueId>& candidates = stash_.candidates();
    for (std::size_t subset = 0; subset < std::size_t{1} << candidates.size(); ++subset) {
      Kept kept = stash_.everything();
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        kept[index(candidates[i])] = (subset >> i & 1) == 0;
      }
      consider(kept);
    }
  }

  // Not planned: what was planned before, and what a choice along shorter stretches, which keep
  // less alive for a while, beats in both stash and time.
  void consider_if_it_may_be_better(const Kept& kept, std::size_t shorter) {
    const RecomputePoint point = priced(kept);
    const bool beaten =
        std::any_of(points_.begin(), points_.begin() + static_cast<std::ptrdiff_t>(shorter),
                    [&](const RecomputePoint& other) {
                      return other.stash_bytes <= point.stash_bytes &&
                             other.added_seconds <= point.added_seconds;
                    });
    if (!beaten) consider(kept);
  }

  void consider(const Kept& kept) {
    const Stash::Demand demand = stash_.demand(kept);
    if (known_.insert({demand.stashed, demand.recomputed}).second) points_.push_back(planned(kept));
  }

  RecomputePoint priced(const Kept& kept) const {
    const Stash::Demand demand = stash_.demand(kept);
    RecomputePoint point{kept, {}, stash_.bytes(demand)};
    for (const int node : demand.recomputed) point.added_seconds += seconds_[index(node)];
    return point;
  }

  RecomputePoint planned(const Kept& kept) const {
    RecomputePoint point = priced(kept);
    const Peak peak = peak_of_(recompute(graph_, kept));
    point.peak_bytes = peak.bytes;
    point.peak_at = peak.at;
    return point;
  }

  // As many as are planned for one length of stretches, evenly, with the first and the last.
  std::vector<RecomputePoint> some(std::vector<RecomputePoint> points) const {
    const std::size_t last = points.size() - 1, count = std::min(last, options_.steps);
    std::vector<RecomputePoint> chosen;
    for (std::size_t i = 0; i <= count; ++i) {
      chosen.push_back(std::move(points[count == 0 ? 0 : i * last / count]));
    }
    return chosen;
  }

  // Stretches near the end of forward are the first of backward: what is kept there is there no
  // longer than what recomputation would make. Where the peak stands above the stash by no more
  // than it does with everything kept, it is at the turn, and keeping more must raise it. The more
  // of these stretches keep everything, the higher the peak: doubling and then halving finds how
  // many may.
  void undo_what_is_in_vain(const std::vector<Stretch>& stretches) {
    const auto above_stash = [](const RecomputePoint& p) { return p.peak_bytes - p.stash_bytes; };
    const std::size_t at_the_turn = above_stash(points_.front());
    for (RecomputePoint& point : points_) {
      if (above_stash(point) <= at_the_turn) continue;
      const RecomputePoint cheapest = point;
      std::size_t may = 0, may_not = stretches.size() + 1;  // how many
      while (may + 1 < may_not) {
        const std::size_t count = std::min(std::max<std::size_t>(1, 2 * may), (may + may_not) / 2);
        RecomputePoint more = planned(with_last_kept(cheapest.kept, stretches, count));
        const bool in_vain = more.peak_bytes <= cheapest.peak_bytes;
        (in_vain ? may : may_not) = count;
        if (in_vain) point = std::move(more);
      }
    }
  }

  // All that the last `count` stretches can keep, besides.
  Kept with_last_kept(Kept kept, const std::vector<Stretch>& stretches, std::size_t count) const {
    for (std::size_t s = stretches.size() - count; s < stretches.size(); ++s) {
      for_each_candidate(stretches[s], [&](ValueId v) { kept[index(v)] = true; });
    }
    return kept;
  }

  const ir::Graph& graph_;
  const PeakOf& peak_of_;
  const FrontierOptions& options_;
  Stash stash_;
  std::vector<double> seconds_;
  std::vector<RecomputePoint> points_;
  std::set<std::pair<std::vector<ValueId>, std::vector<int>>> known_;
};

}  // namespace

std::vector<RecomputePoint> recompute_frontier(const ir::Graph& ordered,
                                               const cost::MachineDescription& machine,
                                               const PeakOf& peak_of,
                                               const FrontierOptions& options) {
  return Search(ordered, machine, peak_of, options).run();
}

std::vector<RecomputePoint> non_dominated(std::vector<RecomputePoint> points) {
  std::stable_sort(
      points.begin(), points.end(), [](const RecomputePoint& a, const RecomputePoint& b) {
        return std::pair(a.added_seconds, a.peak_bytes) < std::pair(b.added_seconds, b.peak_bytes);
      });
  std::vector<RecomputePoint> frontier;
  for (RecomputePoint& point : points) {
    if (frontier.empty() || point.peak_bytes < frontier.back().peak_bytes) {
      frontier.push_back(std::move(point));
    }
  }
  return frontier;
}

ir::Graph applied(ir::Graph ordered, const RecomputePoint& point, const kernels::Machine& machine) {
  return chunk(recompute(std::move(ordered), point.kept), point.chunking, machine);
}

const RecomputePoint& cheapest_within(const std::vector<RecomputePoint>& frontier,
                                      std::size_t budget) {
  require(!frontier.empty(), "an empty frontier");
  for (const RecomputePoint& point : frontier) {
    if (point.peak_bytes <= budget) return point;
  }
  return frontier.back();
}

}  // namespace bessemer::passes

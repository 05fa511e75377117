#include "passes/recompute_cut.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ops/op.h"
#include "passes/max_flow.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

// The network of one stretch: vertices for its nodes and for the values they make.
class Cut {
 public:
  Cut(const ir::Graph& graph, const Stash& stash, const Stretch& stretch,
      const std::vector<double>& seconds)
      : graph_(graph), stash_(stash), stretch_(stretch), seconds_(seconds) {}

  CutOption cheapest(double byte_price, double second_price) {
    scale_ = 1;
    double all = 0;  // of the costs in the network, to be spread over the integers
    if (entry_costs()) all += byte_price * bytes(stretch_.entry);
    for_each_node([&](int i) {
      all += second_price * seconds_[index(i)];
      for (const ValueId v : graph_.nodes()[index(i)].results) all += byte_price * bytes(v);
    });
    constexpr double kResolution = static_cast<double>(std::int64_t{1} << 56);
    if (all > 0) scale_ = kResolution / all;
    FlowNetwork network(2);
    build(network, byte_price, second_price);
    network.maximum_flow(kSource, kSink);
    return option(network.source_side(kSource));
  }

 private:
  static constexpr int kSource = 0, kSink = 1;

  double bytes(ValueId v) const { return static_cast<double>(graph_.type(v).bytes()); }
  std::int64_t capacity(double cost) const { return std::llround(cost * scale_); }

  template <typename Visit>
  void for_each_node(const Visit& visit) const {
    for (int i = stretch_.begin; i < stretch_.end; ++i) {
      if (!ops::definition_of(graph_.nodes()[index(i)].op).is_view) visit(i);
    }
  }

  bool is_free(ValueId v) const { return stash_.is_candidate(v) && v != stretch_.fixed; }

  bool entry_costs() const {
    const ValueId entry = stretch_.entry;
    return entry != kAbsent && stash_.is_candidate(entry) && !stash_.is_needed(entry);
  }

  void build(FlowNetwork& network, double byte_price, double second_price) {
    runs_.clear();
    asked_.clear();
    if (entry_costs()) {
      const int asked = asked_[stretch_.entry] = network.add_vertex();
      network.add_edge(asked, kSink, capacity(byte_price * bytes(stretch_.entry)));
    }
    for_each_node([&](int i) {
      const int runs = runs_[i] = network.add_vertex();
      network.add_edge(runs, kSink, capacity(second_price * seconds_[index(i)]));
      for (const ValueId v : graph_.nodes()[index(i)].results) {
        if (!is_free(v)) continue;
        const int asked = asked_[v] = network.add_vertex();
        network.add_edge(asked, runs, capacity(byte_price * bytes(v)));
        if (stash_.is_needed(v)) network.add_edge(kSource, asked, FlowNetwork::kUnlimited);
      }
      for (const ValueId operand : graph_.nodes()[index(i)].operands) {
        const auto at = operand == kAbsent ? asked_.end() : asked_.find(stash_.root(operand));
        if (at != asked_.end()) network.add_edge(runs, at->second, FlowNetwork::kUnlimited);
      }
    });
  }

  CutOption option(const std::vector<bool>& source_side) const {
    CutOption result;
    for (const auto& [value, vertex] : asked_) {
      const auto maker = runs_.find(stash_.made_by(value));  // none for `entry`
      const bool runs = maker != runs_.end() && source_side[index(maker->second)];
      if (!source_side[index(vertex)] || runs) continue;
      if (value != stretch_.entry) result.kept.push_back(value);
      result.bytes += bytes(value);
    }
    for (const auto& [node, vertex] : runs_) {
      if (source_side[index(vertex)]) result.seconds += seconds_[index(node)];
    }
    return result;
  }

  const ir::Graph& graph_;
  const Stash& stash_;
  const Stretch& stretch_;
  const std::vector<double>& seconds_;
  double scale_ = 1;
  std::map<int, int> runs_;       // node -> vertex
  std::map<ValueId, int> asked_;  // value -> vertex
};

// Adds the options strictly below the line from `a` to `b`, in order.
void add_between(Cut& cut, const CutOption& a, const CutOption& b, std::vector<CutOption>& all) {
  const double byte_price = b.seconds - a.seconds;
  const double second_price = a.bytes - b.bytes;
  const auto cost = [&](const CutOption& o) {
    return o.bytes * byte_price + o.seconds * second_price;
  };
  const CutOption middle = cut.cheapest(byte_price, second_price);
  constexpr double kRounding = 1e-12;
  const bool between = middle.bytes < a.bytes && middle.bytes > b.bytes;
  if (!between || cost(middle) >= cost(a) * (1 - kRounding)) return;
  add_between(cut, a, middle, all);
  all.push_back(middle);
  add_between(cut, middle, b, all);
}

}  // namespace

CutOption cheapest_cut(const ir::Graph& ordered, const Stash& stash, const Stretch& stretch,
                       const std::vector<double>& seconds, double byte_price, double second_price) {
  return Cut(ordered, stash, stretch, seconds).cheapest(byte_price, second_price);
}

std::vector<CutOption> cut_frontier(const ir::Graph& ordered, const Stash& stash,
                                    const Stretch& stretch, const std::vector<double>& seconds) {
  Cut cut(ordered, stash, stretch, seconds);
  // Of equal cuts the one with the fewest vertices at the source is taken: the least recomputation.
  const CutOption all = cut.cheapest(0, 1);
  const CutOption least = cut.cheapest(1, 0);
  std::vector<CutOption> frontier{all};
  if (least.bytes >= all.bytes) return frontier;
  add_between(cut, all, least, frontier);
  frontier.push_back(least);
  return frontier;
}

}  // namespace bessemer::passes

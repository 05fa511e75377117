#include "passes/stash.h"

#include <algorithm>

#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

}  // namespace

Stash::Stash(const ir::Graph& graph) : graph_(graph), made_by_(ir::producers(graph)) {
  find_roots();
  find_turn();
  find_candidates();
}

void Stash::find_roots() {
  root_.resize(graph_.values().size());
  for (std::size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<ValueId>(i);
  for (const ir::Node& node : graph_.nodes()) {
    if (ops::definition_of(node.op).is_view) root_[index(node.results[0])] = root(node.operands[0]);
  }
}

void Stash::find_turn() {
  turn_ = static_cast<int>(graph_.nodes().size());
  const ir::Input* scale = graph_.find_input("loss_scale");
  if (scale == nullptr) return;
  const std::vector<std::vector<int>> used_by = ir::users(graph_);
  if (!used_by[index(scale->value)].empty()) turn_ = used_by[index(scale->value)].front();
}

void Stash::find_candidates() {
  candidate_.assign(graph_.values().size(), false);
  needed_.assign(graph_.values().size(), false);
  for (int i = 0; i < turn_; ++i) {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(i)];
    if (ops::definition_of(node.op).is_view) continue;
    for (const ValueId result : node.results) candidate_[index(result)] = true;
  }
  for (const ir::Output& output : graph_.outputs()) candidate_[index(root(output.value))] = false;
  for (int i = 0; i < turn_; ++i) {
    for (const ValueId result : graph_.nodes()[static_cast<std::size_t>(i)].results) {
      if (is_candidate(result)) candidates_.push_back(result);
    }
  }
  for (std::size_t i = static_cast<std::size_t>(turn_) + 1; i < graph_.nodes().size(); ++i) {
    const ir::Node& node = graph_.nodes()[i];
    if (ops::definition_of(node.op).is_view) continue;
    for (const ValueId operand : node.operands) {
      if (operand != kAbsent && is_candidate(root(operand))) needed_[index(root(operand))] = true;
    }
  }
}

std::vector<ValueId> Stash::waists() const {
  std::vector<int> last_use(graph_.values().size(), -1);  // in forward, the turn included
  const int end = std::min(turn_ + 1, static_cast<int>(graph_.nodes().size()));
  for (int i = 0; i < end; ++i) {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(i)];
    if (ops::definition_of(node.op).is_view) continue;
    for (const ValueId operand : node.operands) {
      if (operand != kAbsent) last_use[index(root(operand))] = i;
    }
  }
  std::vector<ValueId> waists, crossing;
  for (int i = 0; i < turn_; ++i) {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(i)];
    for (const ValueId result : node.results) {
      if (root(result) == result) crossing.push_back(result);
    }
    std::erase_if(crossing, [&](ValueId v) { return last_use[index(v)] <= i; });
    const bool fresh = crossing.size() == 1 && (waists.empty() || waists.back() != crossing[0]);
    if (fresh && is_candidate(crossing[0])) waists.push_back(crossing[0]);
  }
  return waists;
}

Stash::Demand Stash::demand(const Kept& kept) const {
  Demand result;
  std::vector<bool> asked(root_.size(), false);
  std::vector<bool> runs(graph_.nodes().size(), false);
  std::vector<ValueId> open;
  const auto ask = [&](ValueId v) {
    if (v == kAbsent || !is_candidate(root(v)) || asked[index(root(v))]) return;
    asked[index(root(v))] = true;
    open.push_back(root(v));
  };
  for (const ValueId v : candidates_) {
    if (is_needed(v)) ask(v);
  }
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    const auto node = static_cast<std::size_t>(made_by(v));
    if (kept[index(v)]) {
      result.stashed.push_back(v);
    } else if (!runs[node]) {
      runs[node] = true;
      result.recomputed.push_back(static_cast<int>(node));
      for (const ValueId operand : graph_.nodes()[node].operands) ask(operand);
    }
  }
  std::sort(result.stashed.begin(), result.stashed.end());
  std::sort(result.recomputed.begin(), result.recomputed.end());
  return result;
}

std::size_t Stash::bytes(const Demand& demand) const {
  std::size_t sum = 0;
  for (const ValueId v : demand.stashed) sum += graph_.type(v).bytes();
  return sum;
}

}  // namespace bessemer::passes

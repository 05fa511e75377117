#include "passes/recompute.h"

#include <string_view>

#include "base/error.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

class Recomputer {
 public:
  Recomputer(ir::Graph& graph, const Kept& kept)
      : graph_(graph), kept_(kept), stash_(graph), forward_(graph.nodes()) {
    copy_of_.assign(graph.values().size(), kAbsent);
  }

  void run() {
    const auto turn = static_cast<std::size_t>(stash_.turn());
    for (std::size_t i = 0; i < forward_.size(); ++i) {
      ir::Node node = forward_[i];
      if (i > turn) replace_operands(node);
      sequence_.push_back(std::move(node));
    }
    graph_.nodes() = std::move(sequence_);
  }

 private:
  void replace_operands(ir::Node& node) {
    for (ValueId& operand : node.operands) {
      if (operand != kAbsent) operand = in_backward(operand);
    }
  }

  // The value that stands for `v` in backward; made by a clone, put in place now, where `v` goes.
  ValueId in_backward(ValueId v) {
    const ValueId root = stash_.root(v);
    const bool in_forward = stash_.made_by(v) >= 0 && stash_.made_by(v) < stash_.turn();
    if (!in_forward || !stash_.is_candidate(root) || kept_[index(root)]) return v;
    if (copy_of_[index(v)] == kAbsent) clone(forward_[static_cast<std::size_t>(stash_.made_by(v))]);
    return copy_of_[index(v)];
  }

  void clone(const ir::Node& original) {
    ir::Node node = original;
    replace_operands(node);
    node.label = original.label.empty() ? "recompute" : original.label + ".recompute";
    for (ValueId& result : node.results) {
      const ValueId before = result;
      result = graph_.add_value(graph_.value(before).name + ".again",
                                TensorType(graph_.type(before)), graph_.value(before).placement);
      copy_of_[index(before)] = result;
    }
    sequence_.push_back(std::move(node));
  }

  ir::Graph& graph_;
  const Kept& kept_;
  Stash stash_;
  std::vector<ir::Node> forward_;  // the nodes as they were
  std::vector<ValueId> copy_of_;   // by old value: its clone's result
  std::vector<ir::Node> sequence_;
};

// "layers.3" of "layers.3.mlp"; other labels are layers of their own.
std::string_view layer_of(std::string_view label) {
  constexpr std::string_view kLayers = "layers.";
  if (!label.starts_with(kLayers)) return label;
  return label.substr(0, label.find('.', kLayers.size()));
}

Kept layer_inputs(const ir::Graph& graph, const Stash& stash) {
  Kept kept(graph.values().size(), false);
  for (int i = 0; i < stash.turn(); ++i) {
    const ir::Node& node = graph.nodes()[static_cast<std::size_t>(i)];
    if (ops::definition_of(node.op).is_view) continue;
    for (const ValueId operand : node.operands) {
      if (operand == kAbsent || !stash.is_candidate(stash.root(operand))) continue;
      const ValueId value = stash.root(operand);
      const auto maker = static_cast<std::size_t>(stash.made_by(value));
      const bool crosses = layer_of(graph.nodes()[maker].label) != layer_of(node.label);
      if (crosses) kept[index(value)] = true;
    }
  }
  return kept;
}

Kept expensive_and_waists(const ir::Graph& graph, const Stash& stash) {
  Kept kept(graph.values().size(), false);
  for (const ValueId value : stash.waists()) kept[index(value)] = true;
  for (const ValueId value : stash.candidates()) {
    const ir::Node& node = graph.nodes()[static_cast<std::size_t>(stash.made_by(value))];
    std::vector<TensorType> results;
    for (const ValueId result : node.results) results.push_back(graph.type(result));
    const bool expensive =
        ops::definition_of(node.op).work(ops::use_of(graph, node), results).unit !=
        ops::Unit::vector;
    // In 8 bits an expensive value is cheaper to keep than its cheap operand.
    if (expensive || node.op == "quantize_blocks") kept[index(value)] = true;
  }
  return kept;
}

}  // namespace

Kept kept_by(RecomputePolicy policy, const ir::Graph& ordered) {
  const Stash stash(ordered);
  switch (policy) {
    case RecomputePolicy::none: return stash.everything();
    case RecomputePolicy::full: return layer_inputs(ordered, stash);
    case RecomputePolicy::selective: return expensive_and_waists(ordered, stash);
  }
  return stash.everything();
}

ir::Graph recompute(ir::Graph ordered, const Kept& kept) {
  require(kept.size() == ordered.values().size(), "a choice for {} values, graph {} has {}",
          kept.size(), ordered.name(), ordered.values().size());
  Recomputer(ordered, kept).run();
  return ir::without_dead_nodes(std::move(ordered));
}

ir::Graph recompute(ir::Graph ordered, RecomputePolicy policy) {
  const Kept kept = kept_by(policy, ordered);
  return recompute(std::move(ordered), kept);
}

}  // namespace bessemer::passes

#include "passes/compress_stash.h"

#include <algorithm>
#include <map>

#include "ops/op.h"
#include "passes/recompute.h"
#include "passes/stash.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

TensorType infer(std::string_view op, const TensorType& operand, const Attributes& attributes) {
  return ops::definition_of(op).infer({{operand}, attributes}).front();
}

class Compressor {
 public:
  explicit Compressor(ir::Graph& graph)
      : graph_(graph),
        stash_(graph),
        nodes_(graph.nodes()),
        packed_(graph.values().size(), kAbsent) {
    quantized_before_.resize(nodes_.size() + 1);
    for (const ValueId v : stash_.candidates()) {
      if (stash_.is_needed(v) && is_worth_it(v)) plan(v);
    }
  }

  void run() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId v : quantized_before_[i]) quantize(v);
      const bool backward = static_cast<int>(i) > stash_.turn();
      if (backward && ops::definition_of(nodes_[i].op).is_view && is_packed(nodes_[i].results[0])) {
        continue;  // made again for each use
      }
      ir::Node node = nodes_[i];
      if (backward) restore_operands(node);
      sequence_.push_back(std::move(node));
    }
    graph_.nodes() = std::move(sequence_);
  }

 private:
  bool is_packed(ValueId v) const { return packed_[index(stash_.root(v))] != kAbsent; }

  // Statistics are what a node gives beside its first result.
  bool is_worth_it(ValueId v) const {
    const TensorType& type = graph_.type(v);
    const ir::Node& node = nodes_[index(stash_.made_by(v))];
    const bool statistic = type != graph_.type(node.results[0]);
    if (statistic || !is_floating(type.dtype) || type.rank() == 0) return false;
    return infer("quantize_blocks", type, {}).bytes() < type.bytes();
  }

  // In front of the last use in forward, which may then take the value's buffer; else where it is
  // made.
  void plan(ValueId v) {
    int at = stash_.made_by(v) + 1;
    for (int i = at; i <= stash_.turn(); ++i) {
      const ir::Node& node = nodes_[index(i)];
      if (ops::definition_of(node.op).is_view) continue;
      const bool uses = std::any_of(
          node.operands.begin(), node.operands.end(),
          [&](ValueId operand) { return operand != kAbsent && stash_.root(operand) == v; });
      if (uses) at = i;
    }
    quantized_before_[index(at)].push_back(v);
    packed_[index(v)] = graph_.add_value(graph_.value(v).name + ".int8",
                                         infer("quantize_blocks", graph_.type(v), {}));
  }

  void quantize(ValueId v) {
    const std::string& label = nodes_[index(stash_.made_by(v))].label;
    sequence_.push_back({"quantize_blocks", {v}, {packed_[index(v)]}, {}, label});
  }

  void restore_operands(ir::Node& node) {
    std::map<ValueId, ValueId> restored;  // a node that uses a value twice gets it once
    for (ValueId& operand : node.operands) {
      if (operand != kAbsent && is_packed(operand)) operand = restore(operand, restored);
    }
  }

  // `v`, a value in 8 bits or a view of one, for the node that comes next.
  ValueId restore(ValueId v, std::map<ValueId, ValueId>& restored) {
    if (const auto at = restored.find(v); at != restored.end()) return at->second;
    ir::Node node = nodes_[index(stash_.made_by(v))];
    if (v == stash_.root(v)) {
      const std::string dtype(name_of(graph_.type(v).dtype));
      node = {"dequantize_blocks", {packed_[index(v)]}, {}, {{"dtype", dtype}}, node.label};
    } else {
      node.operands[0] = restore(node.operands[0], restored);
    }
    const ValueId result = graph_.add_value(graph_.value(v).name + ".restored",
                                            TensorType(graph_.type(v)), graph_.value(v).placement);
    node.results = {result};
    sequence_.push_back(std::move(node));
    return restored[v] = result;
  }

  ir::Graph& graph_;
  Stash stash_;
  std::vector<ir::Node> nodes_;                         // as they were
  std::vector<ValueId> packed_;                         // by old value: the same in 8 bits
  std::vector<std::vector<ValueId>> quantized_before_;  // by old node
  std::vector<ir::Node> sequence_;
};

}  // namespace

ir::Graph compress_stash(ir::Graph ordered) {
  ir::Graph graph = recompute(std::move(ordered), RecomputePolicy::selective);
  Compressor(graph).run();
  return ir::without_dead_nodes(std::move(graph));
}

}  // namespace bessemer::passes

#include <map>

#include "base/error.h"
#include "passes/fuse.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

struct Slot {
  std::size_t operand;  // position of the optional addend
  std::size_t result;   // the result it is added to
};

const std::map<std::string, Slot, std::less<>>& addend_slots() {
  static const std::map<std::string, Slot, std::less<>> slots{
      {"matmul", {3, 0}},
      {"scaled_matmul", {5, 0}},
      {"layer_norm_grad", {5, 0}},
      {"rms_norm_grad", {4, 0}},
      {"embedding_grad", {2, 0}},
      {"linear_cross_entropy_grad", {5, 1}},
      {"linear_cross_entropy_train", {4, 2}},
  };
  return slots;
}

class Absorber {
 public:
  explicit Absorber(ir::Graph& graph) : graph_(graph) { look(); }

  // To be called when the graph has changed.
  void look() {
    made_by_ = ir::producers(graph_);
    uses_ = use_counts(graph_);
  }

  // Whether every value is made before it is used.
  bool is_in_order() const {
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      for (const ValueId operand : graph_.nodes()[i].operands) {
        if (operand != kAbsent && position(operand) >= static_cast<int>(i)) return false;
      }
    }
    return true;
  }

  // Tries to turn the sum `node` into an addend of the op that makes one of its terms.
  bool try_sum(const ir::Node& node) {
    if (node.operands.size() != 2) return false;
    const ValueId a = node.operands[0], b = node.operands[1];
    if (graph_.type(a) != graph_.type(b)) return false;
    // The later of the two takes the earlier: it can wait for it without moving anything.
    const ValueId first = position(a) > position(b) ? a : b;
    const ValueId second = first == a ? b : a;
    for (const ValueId taker : {first, second}) {
      const ValueId term = taker == a ? b : a;
      if (absorb(taker, term)) {
        replace_uses(graph_, node.results[0], taker);
        return true;
      }
    }
    return false;
  }

 private:
  int position(ValueId value) const { return made_by_[static_cast<std::size_t>(value)]; }

  // Gives `term` to the node that makes `taker`, or to the one that makes its present addend.
  bool absorb(ValueId taker, ValueId term) {
    const int producer = position(taker);
    if (producer < 0 || uses_[static_cast<std::size_t>(taker)] != 1 || reaches(term, producer)) {
      return false;
    }
    ir::Node& node = graph_.nodes()[static_cast<std::size_t>(producer)];
    const auto slot = addend_slots().find(node.op);
    if (slot == addend_slots().end() || node.results[slot->second.result] != taker) return false;
    if (graph_.type(term) != graph_.type(taker)) return false;
    if (node.operands.size() <= slot->second.operand) {
      node.operands.resize(slot->second.operand + 1, kAbsent);
    }
    ValueId& addend = node.operands[slot->second.operand];
    if (addend != kAbsent) return absorb(addend, term);
    addend = term;
    return true;
  }

  // True where making `value` needs node `target` first: absorbing would close a cycle.
  bool reaches(ValueId value, int target) const {
    std::vector<ValueId> open{value};
    std::vector<bool> seen(graph_.values().size(), false);
    while (!open.empty()) {
      const ValueId next = open.back();
      open.pop_back();
      if (next == kAbsent || seen[static_cast<std::size_t>(next)]) continue;
      seen[static_cast<std::size_t>(next)] = true;
      const int producer = position(next);
      if (producer == target) return true;
      if (producer < target) continue;  // operands stand before: nothing earlier needs the target
      for (const ValueId operand : graph_.nodes()[static_cast<std::size_t>(producer)].operands) {
        open.push_back(operand);
      }
    }
    return false;
  }

  ir::Graph& graph_;
  std::vector<int> made_by_;
  std::vector<int> uses_;
};

}  // namespace

ir::Graph fuse_addends(ir::Graph graph) {
  Absorber absorber(graph);
  for (std::size_t i = 0; i < graph.nodes().size();) {
    if (graph.nodes()[i].op != "add" || !absorber.try_sum(ir::Node(graph.nodes()[i]))) {
      ++i;
      continue;
    }
    graph.nodes().erase(graph.nodes().begin() + static_cast<std::ptrdiff_t>(i));
    absorber.look();
    if (!absorber.is_in_order()) {
      graph = in_dependency_order(std::move(graph));
      absorber.look();
    }
    i = 0;
  }
  return graph;
}

}  // namespace bessemer::passes

#include "passes/order.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "ops/op.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

class Scheduler {
 public:
  explicit Scheduler(const ir::Graph& graph)
      : graph_(graph), used_by_(ir::users(graph)), root_(graph.values().size()) {
    find_roots();
    count_uses();
  }

  std::vector<int> run() {
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      if (waiting_[i] == 0) ready_.insert(static_cast<int>(i));
    }
    std::vector<int> order;
    while (!ready_.empty()) {
      const int next = choose();
      ready_.erase(next);
      order.push_back(next);
      release(next);
    }
    require(order.size() == graph_.nodes().size(), "graph {} has a cycle", graph_.name());
    return order;
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  // A view shares the bytes of what it views: they die with the last user of either.
  void find_roots() {
    for (std::size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<ValueId>(i);
    for (const ir::Node& node : graph_.nodes()) {
      if (ops::definition_of(node.op).is_view) {
        root_[index(node.results[0])] = root_[index(node.operands[0])];
      }
    }
  }

  void count_uses() {
    uses_left_.assign(graph_.values().size(), 0);
    costs_.assign(graph_.values().size(), 0);
    waiting_.assign(graph_.nodes().size(), 0);
    const std::vector<int> made_by = ir::producers(graph_);
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      const ir::Node& node = graph_.nodes()[i];
      for (const ValueId operand : distinct_operands(node)) {
        ++uses_left_[index(root_[index(operand)])];
        if (made_by[index(operand)] >= 0) ++waiting_[i];
      }
      for (const ValueId result : node.results) {
        const bool own = root_[index(result)] == result;
        if (own) costs_[index(result)] = static_cast<std::int64_t>(graph_.type(result).bytes());
      }
    }
    for (const ir::Output& output : graph_.outputs()) {
      costs_[index(root_[index(output.value)])] = 0;  // has a home of its own
    }
  }

  static std::vector<ValueId> distinct_operands(const ir::Node& node) {
    std::vector<ValueId> operands = node.operands;
    std::erase(operands, kAbsent);
    std::sort(operands.begin(), operands.end());
    operands.erase(std::unique(operands.begin(), operands.end()), operands.end());
    return operands;
  }

  // Bytes alive after the node minus bytes alive before it.
  std::int64_t growth(int node_index) const {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(node_index)];
    std::int64_t bytes = 0;
    for (const ValueId result : node.results) bytes += costs_[index(result)];
    for (const ValueId operand : distinct_operands(node)) {
      const ValueId root = root_[index(operand)];
      if (uses_left_[index(root)] == 1) bytes -= costs_[index(root)];
    }
    return bytes;
  }

  int choose() const {
    for (const int candidate : ready_) {
      if (growth(candidate) <= 0) return candidate;
    }
    return *ready_.begin();
  }

  void release(int node_index) {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(node_index)];
    for (const ValueId operand : distinct_operands(node))
      --uses_left_[index(root_[index(operand)])];
    for (const ValueId result : node.results) {
      for (const int user : used_by_[index(result)]) {
        if (--waiting_[static_cast<std::size_t>(user)] == 0) ready_.insert(user);
      }
    }
  }

  const ir::Graph& graph_;
  std::vector<std::vector<int>> used_by_;
  std::vector<ValueId> root_;
  std::vector<int> uses_left_;
  std::vector<std::int64_t> costs_;
  std::vector<int> waiting_;
  std::set<int> ready_;
};

}  // namespace

ir::Graph order(ir::Graph graph) {
  const std::vector<int> sequence = Scheduler(graph).run();
  std::vector<ir::Node> nodes;
  nodes.reserve(sequence.size());
  for (const int i : sequence)
    nodes.push_back(std::move(graph.nodes()[static_cast<std::size_t>(i)]));
  graph.nodes() = std::move(nodes);
  return graph;
}

}  // namespace bessemer::passes

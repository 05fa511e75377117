#include <set>
#include <vector>

#include "ops/quantize_program.h"
#include "passes/fuse.h"

namespace bessemer::passes {
namespace {

using ir::Node;
using ir::ValueId;

bool is_norm(const Node& node) {
  return node.op == "layer_norm" || node.op == "rms_norm" || node.op == "layer_norm_grad" ||
         node.op == "rms_norm_grad";
}

class Measurer {
 public:
  explicit Measurer(ir::Graph& graph) : graph_(graph), used_by_(ir::users(graph)) {}

  void run() {
    for (Node& node : graph_.nodes()) {
      if (is_norm(node)) {
        take_amaxes(node, 1);
      } else if (has_program(node)) {
        const std::string program = ops::quantize_program(node);
        if (!take_amaxes(node, node.results.size())) continue;
        node.op = "amax";
        node.attributes = {{"program", program}};
      }
    }
    std::erase_if(graph_.nodes(), [&](const Node& node) {
      return node.op == "amax" && node.results.size() == 1 && taken_.contains(node.results[0]);
    });
  }

 private:
  // Of bf16, in whole accesses: what the device has kernels for.
  bool has_program(const Node& node) const {
    if (ops::quantize_program(node).empty()) return false;
    const TensorType& type = graph_.type(node.operands[0]);
    return type.dtype == DType::bf16 && type.rank() >= 2 && type.dim(-1) % 16 == 0;
  }

  // The amax of a value that nothing has taken yet.
  const Node* amax_of(ValueId value) const {
    for (const int user : used_by_[static_cast<std::size_t>(value)]) {
      const Node& node = graph_.nodes()[static_cast<std::size_t>(user)];
      if (node.op == "amax" && node.attributes.find("program") == nullptr) return &node;
    }
    return nullptr;
  }

  // Those of all of the first `count` results become results of the node, or none does.
  bool take_amaxes(Node& node, std::size_t count) {
    std::vector<ValueId> all;
    for (std::size_t r = 0; r < count; ++r) {
      const Node* amax = amax_of(node.results[r]);
      if (amax == nullptr) return false;
      all.push_back(amax->results[0]);
    }
    taken_.insert(all.begin(), all.end());
    node.results.insert(node.results.end(), all.begin(), all.end());
    if (is_norm(node)) node.attributes.set("measure", true);
    return true;
  }

  ir::Graph& graph_;
  std::vector<std::vector<int>> used_by_;
  std::set<ValueId> taken_;
};

}  // namespace

ir::Graph fuse_amax(ir::Graph graph) {
  Measurer(graph).run();
  return graph;
}

}  // namespace bessemer::passes

#include <map>
#include <utility>
#include <vector>

#include "ops/checks.h"
#include "passes/fuse.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::ValueId;

// What a value is another shape of.
class Roots {
 public:
  explicit Roots(const ir::Graph& graph) : graph_(graph), made_by_(ir::producers(graph)) {}

  ValueId of(ValueId value) const {
    for (;;) {
      const int made = made_by_[static_cast<std::size_t>(value)];
      if (made < 0 || graph_.nodes()[static_cast<std::size_t>(made)].op != "reshape") return value;
      value = graph_.nodes()[static_cast<std::size_t>(made)].operands[0];
    }
  }

 private:
  const ir::Graph& graph_;
  std::vector<int> made_by_;
};

// dW = dy' x, whose epilogue is free. In TF32 it would sum what is left of dy's bits.
bool is_weight_gradient(const ir::Graph& graph, const ir::Node& node) {
  return node.op == "matmul" && node.attributes.boolean("transpose_a", false) &&
         !node.attributes.boolean("tf32", false) && graph.type(node.operands[0]).rank() == 2 &&
         node.operands.size() == 2 && node.attributes.find("activation") == nullptr;
}

// Whether the sums of rows `node` are what `product` makes beside its own result, of dy in another
// shape or not.
bool is_of_product(const ir::Graph& graph, const ir::Node& node, const ir::Node& product) {
  const TensorType& dy = graph.type(product.operands[0]);
  return graph.type(node.results[0]) == TensorType{ops::sum_dtype(dy.dtype), {dy.dim(1)}};
}

}  // namespace

ir::Graph fuse_bias_gradients(ir::Graph graph) {
  const Roots roots(graph);
  std::map<ValueId, std::size_t> products;  // by the root of dy, until they take a sum
  std::vector<bool> goes(graph.nodes().size(), false);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& node = graph.nodes()[i];
    if (is_weight_gradient(graph, node)) products.try_emplace(roots.of(node.operands[0]), i);
    if (!sums_rows(graph, node)) continue;
    const auto found = products.find(roots.of(node.operands[0]));
    if (found == products.end()) continue;
    ir::Node& product = graph.nodes()[found->second];
    if (!is_of_product(graph, node, product)) continue;
    product.attributes.set("row_sums", true);
    product.results.push_back(node.results[0]);
    goes[i] = true;
    products.erase(found);
  }
  std::vector<ir::Node> nodes;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (!goes[i]) nodes.push_back(std::move(graph.nodes()[i]));
  }
  graph.nodes() = std::move(nodes);
  return graph;
}

}  // namespace bessemer::passes

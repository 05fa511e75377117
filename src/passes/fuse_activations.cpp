#include "passes/fuse.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

// The matmul epilogue that does what `node` does; empty where there is none.
std::string epilogue_of(const ir::Node& node) {
  if (node.op == "silu") return "silu";
  if (node.op != "gelu") return "";
  return node.attributes.text("approximate") == "tanh" ? "gelu_tanh" : "gelu";
}

// Lets `absorb(product, node)` turn the matmul that alone feeds operand 0 of a node into one that
// does what the node does; true where it did.
template <typename Absorb>
ir::Graph absorb_into_products(ir::Graph graph, const Absorb& absorb) {
  const std::vector<int> made_by = ir::producers(graph);
  const std::vector<int> uses = use_counts(graph);
  for (const ir::Node& node : graph.nodes()) {
    const ir::ValueId x = node.operands.empty() ? ir::kAbsent : node.operands[0];
    if (x == ir::kAbsent || uses[static_cast<std::size_t>(x)] != 1) continue;
    const int producer = made_by[static_cast<std::size_t>(x)];
    if (producer < 0) continue;
    ir::Node& product = graph.nodes()[static_cast<std::size_t>(producer)];
    const bool plain = product.op == "matmul" && product.operands.size() < 4 &&
                       product.attributes.find("activation") == nullptr;
    if (plain && absorb(product, node)) replace_uses(graph, node.results[0], x);
  }
  return ir::without_dead_nodes(std::move(graph));
}

}  // namespace

ir::Graph fuse_activations(ir::Graph graph) {
  return absorb_into_products(std::move(graph), [](ir::Node& product, const ir::Node& node) {
    const std::string epilogue = epilogue_of(node);
    if (!epilogue.empty()) product.attributes.set("activation", epilogue);
    return !epilogue.empty();
  });
}

ir::Graph fuse_activation_gradients(ir::Graph graph) {
  return absorb_into_products(std::move(graph), [](ir::Node& product, const ir::Node& node) {
    if (node.op != "gelu_grad" || node.attributes.text("approximate") != "tanh") return false;
    product.operands.resize(4, ir::kAbsent);
    product.operands.push_back(node.operands[1]);
    product.attributes.set("activation", std::string("gelu_tanh_grad"));
    return true;
  });
}

}  // namespace bessemer::passes

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

}  // namespace

ir::Graph fuse_activations(ir::Graph graph) {
  const std::vector<int> made_by = ir::producers(graph);
  const std::vector<int> uses = use_counts(graph);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& activation = graph.nodes()[i];
    const std::string epilogue = epilogue_of(activation);
    if (epilogue.empty()) continue;
    const ir::ValueId x = activation.operands[0];
    const int producer = made_by[static_cast<std::size_t>(x)];
    if (producer < 0 || uses[static_cast<std::size_t>(x)] != 1) continue;
    ir::Node& product = graph.nodes()[static_cast<std::size_t>(producer)];
    const bool plain = product.op == "matmul" && product.operands.size() < 4 &&
                       product.attributes.find("activation") == nullptr;
    if (!plain) continue;
    product.attributes.set("activation", epilogue);
    replace_uses(graph, activation.results[0], x);
  }
  return ir::without_dead_nodes(std::move(graph));
}

}  // namespace bessemer::passes

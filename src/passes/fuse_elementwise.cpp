#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "passes/fuse.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// The instruction of the fused program that does what `node` does, operands left open; empty where
// the op is not element-wise.
std::string instruction_of(const ir::Node& node) {
  const auto gelu = [&](std::string_view ending) {
    const bool tanh = node.attributes.text("approximate", "none") == "tanh";
    return fmt::format("{}{}", tanh ? "gelu_tanh" : "gelu", ending);
  };
  if (node.op == "add" || node.op == "multiply" || node.op == "silu" || node.op == "silu_grad") {
    return node.op;
  }
  if (node.op == "scale") return node.op;
  if (node.op == "gelu") return gelu("");
  if (node.op == "gelu_grad") return gelu("_grad");
  return "";
}

class Grouper {
 public:
  explicit Grouper(ir::Graph& graph)
      : graph_(graph),
        made_by_(ir::producers(graph)),
        used_by_(ir::users(graph)),
        uses_(use_counts(graph)),
        taken_(graph.nodes().size(), false) {}

  void run() {
    std::vector<ir::Node> nodes;
    for (std::size_t i = graph_.nodes().size(); i-- > 0;) {  // a chain is found from its last node
      if (taken_[i]) continue;
      std::vector<int> chain = chain_ending_at(static_cast<int>(i));
      nodes.push_back(chain.size() > 1 ? fused(chain) : graph_.nodes()[i]);
    }
    std::reverse(nodes.begin(), nodes.end());
    graph_.nodes() = std::move(nodes);
  }

 private:
  const ir::Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }

  bool groupable(int i, const TensorType& type) const {
    return !taken_[static_cast<std::size_t>(i)] && !instruction_of(node(i)).empty() &&
           graph_.type(node(i).results[0]) == type;
  }

  // Nodes, in order, whose results are used only inside the group, and the last node.
  std::vector<int> chain_ending_at(int last) {
    const TensorType& type = graph_.type(node(last).results[0]);
    if (instruction_of(node(last)).empty()) return {last};
    std::set<int> group{last};
    std::vector<int> open{last};
    while (!open.empty()) {
      const int next = open.back();
      open.pop_back();
      for (const ValueId operand : node(next).operands) {
        if (operand == kAbsent) continue;
        const int producer = made_by_[static_cast<std::size_t>(operand)];
        if (producer < 0 || group.contains(producer) || !groupable(producer, type)) continue;
        if (!used_only_in(operand, group)) continue;
        group.insert(producer);
        open.push_back(producer);
      }
    }
    std::vector<int> chain(group.begin(), group.end());
    if (chain.size() > 1) {
      for (const int i : chain) taken_[static_cast<std::size_t>(i)] = true;
    }
    return chain;
  }

  bool used_only_in(ValueId value, const std::set<int>& group) const {
    int inside = 0;
    for (const int user : used_by_[static_cast<std::size_t>(value)]) {
      if (!group.contains(user)) return false;
      const auto& operands = node(user).operands;
      inside += static_cast<int>(std::count(operands.begin(), operands.end(), value));
    }
    return inside == uses_[static_cast<std::size_t>(value)];  // else it is an output too
  }

  ir::Node fused(const std::vector<int>& chain) const {
    ir::Node result{"fused", {}, node(chain.back()).results, {}, node(chain.back()).label};
    const TensorType& type = graph_.type(result.results[0]);
    // The first operand must have the result's shape: it gives the op its type.
    std::vector<ValueId> inputs = inputs_of(chain);
    std::stable_partition(inputs.begin(), inputs.end(),
                          [&](ValueId v) { return graph_.type(v) == type; });
    result.operands = inputs;
    result.attributes.set("program", program(chain, inputs, type));
    return result;
  }

  std::vector<ValueId> inputs_of(const std::vector<int>& chain) const {
    std::vector<ValueId> inputs;
    for (const int i : chain) {
      for (const ValueId operand : node(i).operands) {
        const int producer = made_by_[static_cast<std::size_t>(operand)];
        const bool inside = std::find(chain.begin(), chain.end(), producer) != chain.end();
        const bool known = std::find(inputs.begin(), inputs.end(), operand) != inputs.end();
        if (!inside && !known) inputs.push_back(operand);
      }
    }
    return inputs;
  }

  // Each step is followed by the rounding that storing its result would have done.
  std::string program(const std::vector<int>& chain, const std::vector<ValueId>& inputs,
                      const TensorType& type) const {
    const bool round = type.dtype == DType::bf16 || type.dtype == DType::fp16;
    std::vector<std::pair<ValueId, std::string>> names;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      names.emplace_back(inputs[i], fmt::format("x{}", i));
    std::string text;
    int next = 0;
    for (const int i : chain) {
      std::string step = fmt::format("t{} = {}", next, instruction_of(node(i)));
      for (const ValueId operand : node(i).operands) {
        const auto at = std::find_if(names.begin(), names.end(),
                                     [&](const auto& entry) { return entry.first == operand; });
        step += " " + at->second;
      }
      if (node(i).op == "scale") step += fmt::format(" {}", node(i).attributes.real("factor"));
      text += step + "; ";
      if (round && i != chain.back()) {
        text += fmt::format("t{} = round_{} t{}; ", next + 1, name_of(type.dtype), next);
        ++next;
      }
      names.emplace_back(node(i).results[0], fmt::format("t{}", next++));
    }
    return text + "return " + names.back().second;
  }

  ir::Graph& graph_;
  std::vector<int> made_by_;
  std::vector<std::vector<int>> used_by_;
  std::vector<int> uses_;
  std::vector<bool> taken_;
};

}  // namespace

ir::Graph fuse_elementwise(ir::Graph graph) {
  Grouper(graph).run();
  return graph;
}

}  // namespace bessemer::passes

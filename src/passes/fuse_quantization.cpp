#include "passes/fuse_quantization.h"

#include <optional>
#include <set>
#include <utility>

#include "ops/quantize_program.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::Node;
using ir::ValueId;
using ops::quantize_program;

bool is_norm(const Node& node) { return node.op == "rms_norm" || node.op == "layer_norm"; }

bool is_quantization(const Node& node) { return node.op == "quantize_fp8"; }

// The values of a producer that are to be quantized: all but statistics.
std::size_t value_count(const Node& producer) {
  return is_norm(producer) ? 1 : producer.results.size();
}

class Fuser {
 public:
  explicit Fuser(ir::Graph& graph)
      : graph_(graph), made_by_(ir::producers(graph)), uses_(use_counts(graph)) {
    const auto used_by = ir::users(graph);
    for (const std::vector<int>& users : used_by) users_.emplace_back(users.begin(), users.end());
  }

  void run() {
    const int count = static_cast<int>(graph_.nodes().size());
    for (int i = 0; i < count; ++i) {
      if (is_quantization(node(i))) take_sum(node(i));
    }
    std::vector<Node> nodes;
    for (int i = 0; i < count; ++i) {
      if (gone_.contains(i)) continue;
      const std::vector<int> quantizations = quantizations_of(node(i));
      if (quantizations.empty()) {
        nodes.push_back(node(i));
      } else {
        fuse(node(i), quantizations, nodes);
      }
    }
    graph_.nodes() = std::move(nodes);
  }

 private:
  Node& node(int i) { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  std::set<int>& users(ValueId value) { return users_[static_cast<std::size_t>(value)]; }

  void take_sum(Node& quantization) {
    const ValueId x = quantization.operands[0];
    for (const int user : users(x)) {
      const Node& sum = node(user);
      if (!sums_rows(graph_, sum) || graph_.type(sum.results[0]).dtype != DType::fp32) continue;
      quantization.attributes.set("sum", true);
      quantization.results.push_back(sum.results[0]);
      gone_.insert(user);
      users(x).erase(user);
      --uses_[static_cast<std::size_t>(x)];
      return;
    }
  }

  // The one node that quantizes `value`, if its scale is known before the value is.
  std::optional<int> quantization_of(ValueId value) {
    std::optional<int> found;
    for (const int user : users(value)) {
      if (!is_quantization(node(user))) continue;
      if (found) return std::nullopt;
      found = user;
    }
    if (!found) return std::nullopt;
    const Node& quantization = node(*found);
    const bool scaled_by_itself = quantization.operands.size() > 1 &&
                                  made_by_[static_cast<std::size_t>(quantization.operands[1])] >= 0;
    const bool has_kernel = quantization.attributes.boolean("transposed", false) &&
                            quantization.attributes.text("block") != "128x128";
    return has_kernel && !scaled_by_itself ? found : std::nullopt;
  }

  // Of a producer that can be a program, those of all its values; empty where one has none, or they
  // differ in more than the tensor.
  std::vector<int> quantizations_of(const Node& producer) {
    if (quantize_program(producer).empty() || !has_kernel_types(producer)) return {};
    std::vector<int> all;
    std::optional<Attributes> common;
    for (std::size_t v = 0; v < value_count(producer); ++v) {
      const auto found = quantization_of(producer.results[v]);
      if (!found) return {};
      Attributes attributes = node(*found).attributes;
      attributes.erase("indices");
      if (common.value_or(attributes) != attributes) return {};
      common = attributes;
      all.push_back(*found);
    }
    return all;
  }

  bool has_kernel_types(const Node& producer) const {
    const DType others = is_norm(producer) ? DType::fp32 : DType::bf16;
    for (std::size_t i = 0; i < producer.operands.size(); ++i) {
      const DType wanted = i == 0 ? DType::bf16 : others;
      if (graph_.type(producer.operands[i]).dtype != wanted) return false;
    }
    return true;
  }

  void fuse(const Node& producer, const std::vector<int>& quantizations, std::vector<Node>& nodes) {
    const Node& first = node(quantizations[0]);
    Node fused{"quantize_fp8", producer.operands, {}, first.attributes, first.label};
    if (is_norm(producer)) fused.operands = with_statistics(producer, nodes);
    fused.operands.insert(fused.operands.end(), first.operands.begin() + 1, first.operands.end());
    const bool keep = is_needed(producer);
    std::vector<std::int64_t> indices;
    for (std::size_t v = 0; v < quantizations.size(); ++v) {
      const Node& quantization = node(quantizations[v]);
      if (keep) fused.results.push_back(producer.results[v]);
      fused.results.insert(fused.results.end(), quantization.results.begin(),
                           quantization.results.end());
      const auto of_value = quantization.attributes.integers("indices", {{0}});
      indices.push_back(of_value.front());
      gone_.insert(quantizations[v]);
    }
    fused.attributes.set("program", quantize_program(producer));
    fused.attributes.set("indices", indices);
    if (keep) fused.attributes.set("keep", true);
    nodes.push_back(std::move(fused));
  }

  // Whether anything but quantizing it reads one of the values.
  bool is_needed(const Node& producer) const {
    for (std::size_t v = 0; v < value_count(producer); ++v) {
      if (uses_[static_cast<std::size_t>(producer.results[v])] > 1) return true;
    }
    return false;
  }

  // The operands of a norm's program. Its statistics become a node, and columns.
  std::vector<ValueId> with_statistics(const Node& norm, std::vector<Node>& nodes) {
    const std::vector<ValueId> statistics(norm.results.begin() + 1, norm.results.end());
    const Attributes attributes{{"epsilon", norm.attributes.real("epsilon")},
                                {"centred", norm.op == "layer_norm"}};
    nodes.push_back({"norm_statistics", {norm.operands[0]}, statistics, attributes, norm.label});
    std::vector<ValueId> operands{norm.operands[0]};
    for (const ValueId statistic : statistics) {
      TensorType type = graph_.type(statistic);
      type.shape.push_back(1);
      const Attributes to{{"shape", type.shape}};
      operands.push_back(graph_.add_value("column", type));
      nodes.push_back({"reshape", {statistic}, {operands.back()}, to, norm.label});
    }
    operands.insert(operands.end(), norm.operands.begin() + 1, norm.operands.end());
    return operands;
  }

  ir::Graph& graph_;
  std::vector<int> made_by_;
  std::vector<std::set<int>> users_;  // of each value
  std::vector<int> uses_;
  std::set<int> gone_;  // nodes
};

}  // namespace

ir::Graph fuse_quantization(ir::Graph graph) {
  Fuser(graph).run();
  return in_dependency_order(std::move(graph));  // a sum may have been read before
}

}  // namespace bessemer::passes

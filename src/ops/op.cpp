#include "ops/op.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "ir/text.h"
#include "ops/all_ops.h"
#include "ops/tiers.h"

namespace bessemer::ops {
namespace {

// Checks one graph, item by item in the order of its text.
class Verifier {
 public:
  explicit Verifier(const ir::Graph& graph)
      : graph_(graph), defined_(graph.values().size(), false), updates_(graph) {}

  void run() {
    for (const ir::Input& input : graph_.inputs()) check_input(input);
    for (const ir::Node& node : graph_.nodes()) check_node(node);
    for (const ir::Output& output : graph_.outputs()) check_output(output);
  }

 private:
  bool exists(ir::ValueId id) const {
    return id >= 0 && static_cast<std::size_t>(id) < graph_.values().size();
  }
  bool is_defined(ir::ValueId id) const {
    return exists(id) && defined_[static_cast<std::size_t>(id)];
  }

  void define(ir::ValueId id, const std::string& where) {
    require(exists(id), "{}: {} is not a value of the graph", where, id);
    const std::string& name = graph_.value(id).name;
    require(!defined_[static_cast<std::size_t>(id)], "{}: %{} is defined twice", where, name);
    require(value_names_.insert(name).second, "{}: a second value named %{}", where, name);
    defined_[static_cast<std::size_t>(id)] = true;
  }

  void check_input(const ir::Input& input) {
    const std::string where = "input \"" + input.name + "\"";
    define(input.value, where);
    require(inputs_.emplace(input.name, &input).second, "{}: a second input of that name", where);
    require(ir::is_persistent(input.role) || graph_.tier(input.value) == ir::Tier::device,
            "{}: data is handed over on the device", where);
  }

  void check_node(const ir::Node& node) {
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] == ir::kAbsent) continue;
      require(is_defined(node.operands[i]), "{} node {}: operand {} is not defined before its use",
              node.op, &node - graph_.nodes().data(), i);
    }
    for (const ir::ValueId result : node.results) {
      define(result, node.op + " node " + std::to_string(&node - graph_.nodes().data()));
    }
    try {
      check_types(node);
      check_tiers(graph_, node);
      updates_.visit(node);
    } catch (const Error& error) {
      fail("{}: {}", ir::print_node(graph_, node), error.what());
    }
  }

  void check_types(const ir::Node& node) const {
    const auto inferred = definition_of(node.op).infer(use_of(graph_, node));
    require(inferred.size() == node.results.size(), "expected {} results, found {}",
            inferred.size(), node.results.size());
    for (std::size_t i = 0; i < inferred.size(); ++i) {
      const TensorType& stated = graph_.type(node.results[i]);
      require(stated == inferred[i], "result {}: stated as {}, but the operands make it {}", i,
              to_string(stated), to_string(inferred[i]));
    }
  }

  void check_output(const ir::Output& output) {
    require(is_defined(output.value), "output \"{}\": its value is not defined", output.name);
    require(output_names_.insert(output.name).second, "output \"{}\": a second one of that name",
            output.name);
    updates_.check_whole(output.value);
    const ir::Tier tier = graph_.tier(output.value);
    if (output.kind == ir::Output::Kind::result) {
      require(tier == ir::Tier::device, "result \"{}\" lies in the {} tier", output.name,
              name_of(tier));
      return;
    }
    const auto at = inputs_.find(output.name);
    require(at != inputs_.end() && ir::is_persistent(at->second->role),
            "write \"{}\": there is no persistent input of that name", output.name);
    const TensorType& old_type = graph_.type(at->second->value);
    const TensorType& new_type = graph_.type(output.value);
    require(old_type == new_type, "write \"{}\": the input is {}, the value written is {}",
            output.name, to_string(old_type), to_string(new_type));
    const ir::Tier old_tier = graph_.tier(at->second->value);
    require(old_tier == tier, "write \"{}\": the input lies in the {} tier, the value in {}",
            output.name, name_of(old_tier), name_of(tier));
  }

  const ir::Graph& graph_;
  std::vector<bool> defined_;
  std::unordered_set<std::string> value_names_, output_names_;
  std::unordered_map<std::string, const ir::Input*> inputs_;
  UpdateChecker updates_;
};

}  // namespace

const TensorType& OpUse::operand(std::size_t i) const {
  require(has(i), "operand {} is absent", i);
  return *operands[i];
}

const OpDefinition* find_definition(std::string_view name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const OpDefinition*> map;
    for (const OpDefinition& op : all_ops()) map.emplace(op.name, &op);
    return map;
  }();
  const auto at = by_name.find(name);
  return at == by_name.end() ? nullptr : at->second;
}

const OpDefinition& definition_of(std::string_view name) {
  const OpDefinition* found = find_definition(name);
  require(found != nullptr, "there is no op named '{}'", name);
  return *found;
}

OpUse use_of(const ir::Graph& graph, const ir::Node& node) {
  OpUse use{{}, node.attributes};
  use.operands.reserve(node.operands.size());
  for (const ir::ValueId id : node.operands) {
    use.operands.push_back(id == ir::kAbsent ? std::nullopt : std::optional(graph.type(id)));
  }
  return use;
}

void verify(const ir::Graph& graph) { Verifier(graph).run(); }

Work memory_work(const OpUse& use, std::span<const TensorType> results, double flops) {
  Work work{.flops = flops};
  for (const auto& operand : use.operands) {
    if (operand) work.bytes_read += static_cast<double>(operand->bytes());
  }
  for (const TensorType& result : results) {
    work.bytes_written += static_cast<double>(result.bytes());
  }
  return work;
}

}  // namespace bessemer::ops

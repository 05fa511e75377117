#include "ops/tiers.h"

#include "base/error.h"

namespace bessemer::ops {
namespace {

using ir::kAbsent;
using ir::Tier;
using ir::ValueId;

void require_on_device(const ir::Graph& graph, ValueId value, std::string_view what) {
  require(graph.tier(value) == Tier::device, "%{} lies in the {} tier; {}", graph.value(value).name,
          name_of(graph.tier(value)), what);
}

void check_store(const ir::Graph& graph, const ir::Node& node) {
  require_on_device(graph, node.operands[0], "a store takes it from the device");
  if (node.operands.size() < 2 || node.operands[1] == kAbsent) return;
  const Tier into = graph.tier(node.operands[1]), to = graph.tier(node.results[0]);
  require(to == into, "the result is stated in the {} tier, but the tensor stored into is in {}",
          name_of(to), name_of(into));
}

template <typename Visit>
void for_each_tensor(const ir::Graph& graph, const ir::Node& node, const Visit& visit) {
  for (const auto* list : {&node.operands, &node.results}) {
    for (const ValueId value : *list) {
      if (value != kAbsent && graph.type(value).rank() > 0) visit(value);
    }
  }
}

}  // namespace

bool runs_on_host(const ir::Graph& graph, const ir::Node& node) {
  if (moves_between_tiers(node.op) || !definition_of(node.op).runs_on_host) return false;
  bool host = false;
  for_each_tensor(graph, node, [&](ValueId v) { host = host || graph.tier(v) == Tier::host; });
  return host;
}

void check_tiers(const ir::Graph& graph, const ir::Node& node) {
  if (node.op == "store") return check_store(graph, node);
  if (node.op == "fetch") {
    return require_on_device(graph, node.results[0], "a fetch brings it to the device");
  }
  const OpDefinition& op = definition_of(node.op);
  if (op.is_view) {
    const Tier from = graph.tier(node.operands[0]), to = graph.tier(node.results[0]);
    require(from == to, "a view of what lies in the {} tier is stated in {}", name_of(from),
            name_of(to));
    return;
  }
  const bool host = runs_on_host(graph, node);
  for_each_tensor(graph, node, [&](ValueId value) {
    if (!host) return require_on_device(graph, value, "this op takes it on the device");
    require(graph.tier(value) == Tier::host,
            "%{} lies in the {} tier and another of its tensors in host; all must be there",
            graph.value(value).name, name_of(graph.tier(value)));
  });
}

UpdateChecker::UpdateChecker(const ir::Graph& graph)
    : graph_(graph), versions_(graph.values().size()), updated_(graph.values().size()) {
  for (std::size_t v = 0; v < versions_.size(); ++v) versions_[v].root = static_cast<ValueId>(v);
}

void UpdateChecker::check_read(ValueId value, const ElementRange& range) const {
  const Version& read = version(value);
  const auto& updates = updated_[static_cast<std::size_t>(read.root)];
  for (std::size_t i = read.updates; i < updates.size(); ++i) {
    require(!updates[i].meets(range), "%{} is read after a store replaced elements of it",
            graph_.value(value).name);
  }
}

void UpdateChecker::check_whole(ValueId value) const {
  check_read(value, {0, graph_.type(value).elements()});
}

void UpdateChecker::visit(const ir::Node& node) {
  const OpDefinition& op = definition_of(node.op);
  for (const ValueId operand : node.operands) {
    if (operand == kAbsent) continue;
    if (node.op == "fetch") {
      check_read(operand, fetched_range(node.attributes, graph_.type(operand)));
    } else {
      check_whole(operand);
    }
  }
  if (op.is_view) version(node.results[0]) = version(node.operands[0]);
  const auto into = static_cast<std::size_t>(op.updates);
  if (op.updates < 0 || into >= node.operands.size() || node.operands[into] == kAbsent) return;
  Version& made = version(node.results[0]) = version(node.operands[into]);
  updated_[static_cast<std::size_t>(made.root)].push_back(
      stored_range(node.attributes, graph_.type(node.operands[0])));
  ++made.updates;
}

}  // namespace bessemer::ops

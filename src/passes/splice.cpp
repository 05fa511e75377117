#include "passes/splice.h"

#include <algorithm>

#include "ops/builder.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }

}  // namespace

Splicer::Splicer(ir::Graph graph)
    : graph_(std::move(graph)),
      end_(static_cast<int>(graph_.nodes().size())),
      ready_(graph_.values().size(), 0),
      after_last_use_(graph_.values().size(), 0) {
  std::vector<ValueId> root(graph_.values().size());
  for (std::size_t v = 0; v < root.size(); ++v) root[v] = static_cast<ValueId>(v);
  for (int i = 0; i < end_; ++i) {
    const ir::Node& node = graph_.nodes()[static_cast<std::size_t>(i)];
    if (ops::definition_of(node.op).is_view) {
      root[index(node.results[0])] = root[index(node.operands[0])];
    }
    for (const ValueId result : node.results) ready_[index(result)] = i + 1;
    for (const ValueId operand : node.operands) {
      if (operand != kAbsent) after_last_use_[index(root[index(operand)])] = i + 1;
    }
  }
}

ValueId Splicer::input(ir::Role role, const std::string& name, const TensorType& type) {
  if (const ir::Input* there = graph_.find_input(name)) return there->value;
  const ValueId value = graph_.add_value(ir::name_of(role), type);  // names of weights are no words
  graph_.bind_input({value, role, name});
  ready_.resize(graph_.values().size(), 0);
  return value;
}

int Splicer::after_last_use(ValueId value) const {
  return index(value) < after_last_use_.size() ? after_last_use_[index(value)] : 0;
}

std::vector<ValueId> Splicer::insert(int earliest, const std::string& op,
                                     std::vector<ValueId> operands, const Attributes& attributes,
                                     const std::string& label) {
  int place = earliest;
  for (const ValueId operand : operands) {
    if (operand != kAbsent) place = std::max(place, ready_[index(operand)]);
  }
  ops::Builder builder(graph_);
  builder.set_label(label);
  const std::vector<ValueId> results = builder.all(op, std::move(operands), attributes);
  inserted_.push_back({place, std::move(graph_.nodes().back())});
  graph_.nodes().pop_back();
  ready_.resize(graph_.values().size(), place);
  return results;
}

void Splicer::write(ir::Role role, const std::string& name, ValueId value) {
  input(role, name, TensorType(graph_.type(value)));
  graph_.add_write(name, value);
}

ir::Graph Splicer::finish() {
  std::stable_sort(inserted_.begin(), inserted_.end(),
                   [](const Inserted& a, const Inserted& b) { return a.place < b.place; });
  std::vector<ir::Node> nodes;
  nodes.reserve(graph_.nodes().size() + inserted_.size());
  auto next = inserted_.begin();
  for (int i = 0; i <= end_; ++i) {
    for (; next != inserted_.end() && next->place <= i; ++next) {
      nodes.push_back(std::move(next->node));
    }
    if (i < end_) nodes.push_back(std::move(graph_.nodes()[static_cast<std::size_t>(i)]));
  }
  graph_.nodes() = std::move(nodes);
  return std::move(graph_);
}

}  // namespace bessemer::passes

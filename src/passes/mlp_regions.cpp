#include "passes/mlp_regions.h"

#include <algorithm>
#include <set>

#include "base/rounding.h"
#include "ops/divisible.h"
#include "ops/op.h"
#include "passes/stash.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

bool is_activation(const ir::Node& node) {
  constexpr std::string_view kNames[] = {"gelu",      "silu",      "swiglu",
                                         "gelu_grad", "silu_grad", "swiglu_grad"};
  return std::find(std::begin(kNames), std::end(kNames), node.op) != std::end(kNames);
}

std::optional<RowRoles> roles_of_product(const ir::Graph& graph, const ir::Node& node) {
  if (graph.type(node.operands[1]).rank() != 2) return std::nullopt;
  if (!node.attributes.boolean("transpose_a", false)) {
    return RowRoles{{RowRole::rows, RowRole::whole, RowRole::whole, RowRole::rows}, RowRole::rows};
  }
  const bool has_bias = node.operands.size() > 2 && node.operands[2] != kAbsent;
  const bool plain_sum = graph.type(node.results[0]).dtype == DType::fp32 && !has_bias &&
                         !node.attributes.boolean("transpose_b", false) &&
                         node.attributes.text("activation", "none") == "none";
  if (!plain_sum) return std::nullopt;
  return RowRoles{{RowRole::rows, RowRole::rows, RowRole::whole, RowRole::sum}, RowRole::sum};
}

std::optional<RowRoles> roles_of_sum(const ir::Graph& graph, const ir::Node& node) {
  const TensorType& x = graph.type(node.operands[0]);
  std::vector<std::int64_t> all_but_last;
  for (std::int64_t d = 0; d + 1 < x.rank(); ++d) all_but_last.push_back(d);
  const bool over_rows = node.attributes.integers("dims") == all_but_last;
  if (!over_rows || graph.type(node.results[0]).dtype != DType::fp32) return std::nullopt;
  return RowRoles{{RowRole::rows, RowRole::sum}, RowRole::sum};
}

class Finder {
 public:
  Finder(const ir::Graph& graph, const kernels::Machine& machine)
      : graph_(graph), machine_(machine), stash_(graph) {
    find_users();
    for (const ir::Output& output : graph.outputs()) outputs_.insert(stash_.root(output.value));
  }

  std::vector<MlpRegion> run() {
    std::vector<MlpRegion> regions;
    std::set<int> seen;
    for (int i = stash_.turn() + 1; i < static_cast<int>(graph_.nodes().size()); ++i) {
      if (!is_activation(node(i)) || seen.contains(i)) continue;
      nodes_.clear(), hidden_.clear();
      const bool closed = close_over(i) && is_convex() && has_equal_rows();
      seen.insert(nodes_.begin(), nodes_.end());
      if (closed) regions.push_back(region());
    }
    return regions;
  }

 private:
  const ir::Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  bool is_view(int i) const { return ops::definition_of(node(i).op).is_view; }
  bool is_restoring(int i) const { return node(i).op == "dequantize_blocks"; }

  // By what they show: users of a view are users of its root.
  void find_users() {
    used_by_.resize(graph_.values().size());
    for (int i = 0; i < static_cast<int>(graph_.nodes().size()); ++i) {
      if (is_view(i)) continue;
      for (const ValueId operand : node(i).operands) {
        if (operand == kAbsent) continue;
        std::vector<int>& users = used_by_[index(stash_.root(operand))];
        if (users.empty() || users.back() != i) users.push_back(i);
      }
    }
  }

  // From one activation on to all that shares its hidden values.
  bool close_over(int start) {
    std::vector<ValueId> open;
    const auto add_value = [&](ValueId v) {
      if (v != kAbsent && hidden_.insert(stash_.root(v)).second) open.push_back(stash_.root(v));
    };
    const auto add_node = [&](int i) {
      nodes_.insert(i);
      if (!is_activation(node(i)) && !is_restoring(i)) return;
      for (const ValueId v : node(i).operands) add_value(v);
      for (const ValueId v : node(i).results) add_value(v);
    };
    add_node(start);
    while (!open.empty()) {
      const ValueId value = open.back();
      open.pop_back();
      if (outputs_.contains(value)) return false;
      const bool from_forward = stash_.made_by(value) <= stash_.turn();
      if (!from_forward && !add_around(value, add_node)) return false;
      if (!from_forward) continue;
      hidden_.erase(value);  // there as a whole: the region takes rows of it
      for (const int i : used_by_[index(value)]) {
        const bool shares = i > stash_.turn() && (is_activation(node(i)) || is_restoring(i));
        if (shares && !nodes_.contains(i)) add_node(i);
      }
    }
    return true;
  }

  // What makes a hidden value and what uses it; false where one of them cannot be cut.
  template <typename AddNode>
  bool add_around(ValueId value, const AddNode& add_node) {
    std::vector<int> around = used_by_[index(value)];
    around.push_back(stash_.made_by(value));
    for (const int i : around) {
      if (!is_activation(node(i)) && !takes_part(i, value)) return false;
      add_node(i);
    }
    return true;
  }

  // A product that makes `value` row by row, or anything that takes it so.
  bool takes_part(int i, ValueId value) const {
    const auto roles = row_roles(graph_, node(i), machine_);
    if (!roles) return false;
    if (stash_.made_by(value) == i && roles->result != RowRole::rows) return false;
    for (std::size_t o = 0; o < node(i).operands.size(); ++o) {
      const ValueId operand = node(i).operands[o];
      const bool is_value = operand != kAbsent && stash_.root(operand) == value;
      if (is_value && roles->operands[o] != RowRole::rows) return false;
    }
    return true;
  }

  // No node in between that the region makes and that the region waits for.
  bool is_convex() const {
    std::set<ValueId> later;  // made by nodes that must follow the region
    const auto depends = [&](int i) {
      return std::any_of(node(i).operands.begin(), node(i).operands.end(),
                         [&](ValueId v) { return v != kAbsent && later.contains(v); });
    };
    for (int i = *nodes_.begin(); i <= *nodes_.rbegin(); ++i) {
      if (nodes_.contains(i)) {
        if (depends(i)) return false;
        continue;
      }
      const bool follows =
          depends(i) || std::any_of(node(i).operands.begin(), node(i).operands.end(),
                                    [&](ValueId v) { return v != kAbsent && is_made_here(v); });
      const bool hidden_view = is_view(i) && hidden_.contains(stash_.root(node(i).results[0]));
      if (follows && !hidden_view) later.insert(node(i).results.begin(), node(i).results.end());
    }
    return true;
  }

  bool is_made_here(ValueId v) const { return nodes_.contains(stash_.made_by(stash_.root(v))); }

  // Of everything that goes row by row; and no sum over rows is used before it is complete.
  bool has_equal_rows() {
    rows_ = 0;
    for (const int i : nodes_) {
      const RowRoles roles = *row_roles(graph_, node(i), machine_);
      for (std::size_t o = 0; o < node(i).operands.size(); ++o) {
        const ValueId operand = node(i).operands[o];
        if (operand == kAbsent) continue;
        if (roles.operands[o] != RowRole::rows) {
          if (is_made_here(operand)) return false;
          continue;
        }
        const int maker = stash_.made_by(stash_.root(operand));
        if (is_made_here(operand) &&
            row_roles(graph_, node(maker), machine_)->result != RowRole::rows) {
          return false;
        }
        const TensorType& type = graph_.type(operand);
        const std::int64_t rows = type.elements() / std::max<std::int64_t>(1, type.dim(-1));
        if (rows_ == 0) rows_ = rows;
        if (rows != rows_) return false;
      }
    }
    return true;
  }

  MlpRegion region() const {
    MlpRegion region{{nodes_.begin(), nodes_.end()}, rows_, {}};
    for (std::size_t v = 0; v < graph_.values().size(); ++v) {
      region.hidden.push_back(hidden_.contains(stash_.root(static_cast<ValueId>(v))));
    }
    return region;
  }

  const ir::Graph& graph_;
  const kernels::Machine& machine_;
  Stash stash_;
  std::vector<std::vector<int>> used_by_;  // by root
  std::set<ValueId> outputs_;              // roots
  std::set<int> nodes_;                    // of the region in the making
  std::set<ValueId> hidden_;               // its roots
  std::int64_t rows_ = 0;
};

}  // namespace

std::optional<RowRoles> row_roles(const ir::Graph& graph, const ir::Node& node,
                                  const kernels::Machine& machine) {
  if (is_activation(node)) {
    return RowRoles{std::vector(node.operands.size(), RowRole::rows), RowRole::rows};
  }
  if (node.op == "dequantize_blocks") return RowRoles{{RowRole::rows}, RowRole::rows};
  if (node.op == "reduce_sum") return roles_of_sum(graph, node);
  if (node.op != "matmul") return std::nullopt;
  const bool divisible =
      ops::product_is_divisible(ops::use_of(graph, node), graph.type(node.results[0]), machine);
  return divisible ? roles_of_product(graph, node) : std::nullopt;
}

std::int64_t mlp_part(std::int64_t rows, std::int64_t parts) {
  constexpr std::int64_t kBlock = 64;  // kernels/cpu/reduce_sum.cpp: kRowBlock
  constexpr std::int64_t kFewestRows = 128;
  return std::max(kFewestRows, round_up(divide_up(rows, parts), kBlock));
}

std::vector<MlpRegion> mlp_regions(const ir::Graph& graph, const kernels::Machine& machine) {
  return Finder(graph, machine).run();
}

}  // namespace bessemer::passes

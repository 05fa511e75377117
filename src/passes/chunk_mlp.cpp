#include <algorithm>
#include <map>

#include "ops/builder.h"
#include "passes/chunk.h"
#include "passes/mlp_regions.h"
#include "passes/stash.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// Appends one region in parts to a graph whose earlier nodes are there.
class Cutter {
 public:
  Cutter(ir::Graph& graph, const std::vector<ir::Node>& before, const Stash& stash,
         const MlpRegion& region, const kernels::Machine& machine)
      : graph_(graph), before_(before), stash_(stash), region_(region), builder_(graph) {
    for (const int i : region.nodes) roles_.push_back(*row_roles(graph, node(i), machine));
  }

  void run(std::int64_t rows_of_part) {
    parts_ = (region_.rows + rows_of_part - 1) / rows_of_part;
    for (std::int64_t part = 0; part < parts_; ++part) {
      begin_ = part * rows_of_part;
      end_ = std::min(region_.rows, begin_ + rows_of_part);
      part_of_.clear();
      for (std::size_t k = 0; k < region_.nodes.size(); ++k) append(k, part);
      for (const auto& [value, its_part] : part_of_) {
        if (is_made_here(value) && !region_.hidden[index(value)]) done_[value].push_back(its_part);
      }
    }
    for (const auto& [value, its_parts] : done_) join(value, its_parts);
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  const ir::Node& node(int i) const { return before_[static_cast<std::size_t>(i)]; }
  bool is_made_here(ValueId root) const {
    return std::binary_search(region_.nodes.begin(), region_.nodes.end(), stash_.made_by(root));
  }

  void append(std::size_t k, std::int64_t part) {
    const ir::Node& original = node(region_.nodes[k]);
    builder_.set_label(original.label);
    ir::Node copy = original;
    copy.attributes.set("parts", parts_);
    const bool is_sum = roles_[k].result == RowRole::sum;
    for (std::size_t o = 0; o < copy.operands.size(); ++o) {
      if (copy.operands[o] != kAbsent && roles_[k].operands[o] == RowRole::rows) {
        copy.operands[o] = rows_of(copy.operands[o]);
      }
    }
    if (copy.op == "reduce_sum") copy.attributes.set("dims", Shape{0});
    if (is_sum && part > 0) {
      copy.operands.resize(roles_[k].operands.size(), kAbsent);
      copy.operands.back() = sums_.at(original.results[0]);
    }
    if (is_sum && part + 1 == parts_) {  // the whole sum, as all that use it know it
      graph_.nodes().push_back(std::move(copy));
      return;
    }
    const auto results = builder_.all(copy.op, copy.operands, copy.attributes);
    for (std::size_t r = 0; r < results.size(); ++r) {
      (is_sum ? sums_ : part_of_)[original.results[r]] = results[r];
    }
  }

  // The rows of this part of a value.
  ValueId rows_of(ValueId value) {
    const ValueId root = stash_.root(value);
    const auto [at, fresh] = part_of_.try_emplace(root, kAbsent);
    if (!fresh) return at->second;
    const std::int64_t width = graph_.type(value).dim(-1);
    const auto [flat, new_view] = flat_.try_emplace(root, kAbsent);
    if (new_view) flat->second = builder_.reshape(value, {region_.rows, width});
    at->second = builder_.add(
        "slice", {flat->second},
        {{"dim", std::int64_t{0}}, {"begin", begin_}, {"end", end_}, {"parts", parts_}});
    return at->second;
  }

  void join(ValueId value, const std::vector<ValueId>& its_parts) {
    const ir::Node& maker = node(stash_.made_by(value));
    const TensorType type = graph_.type(value);  // a copy: the graph grows
    ir::Node whole{"concat", its_parts, {value}, {{"dim", std::int64_t{0}}}, maker.label};
    if (type.rank() == 2) {
      graph_.nodes().push_back(std::move(whole));
      return;
    }
    builder_.set_label(maker.label);
    const ValueId flat = builder_.add(whole.op, whole.operands, whole.attributes);
    graph_.nodes().push_back({"reshape", {flat}, {value}, {{"shape", type.shape}}, maker.label});
  }

  ir::Graph& graph_;
  const std::vector<ir::Node>& before_;
  const Stash& stash_;
  const MlpRegion& region_;
  ops::Builder builder_;
  std::vector<RowRoles> roles_;  // of the region's nodes
  std::int64_t parts_ = 0, begin_ = 0, end_ = 0;
  std::map<ValueId, ValueId> part_of_;            // by root: its rows in this part
  std::map<ValueId, ValueId> flat_;               // by root: the whole as a matrix
  std::map<ValueId, ValueId> sums_;               // so far, by what they will be
  std::map<ValueId, std::vector<ValueId>> done_;  // parts of what goes on, row by row
};

// Everything between the first and the last node of the region that is not part of it goes before
// it, unless it needs the region's results.
void append_cut(ir::Graph& graph, const std::vector<ir::Node>& before, const Stash& stash,
                const MlpRegion& region, std::int64_t parts, const kernels::Machine& machine) {
  std::vector<bool> made(graph.values().size(), false);
  std::vector<const ir::Node*> after;
  for (int i = region.first(); i <= region.last(); ++i) {
    const ir::Node& node = before[static_cast<std::size_t>(i)];
    const bool inside = std::binary_search(region.nodes.begin(), region.nodes.end(), i);
    const bool follows = std::any_of(node.operands.begin(), node.operands.end(), [&](ValueId v) {
      return v != kAbsent && made[static_cast<std::size_t>(v)];
    });
    if (inside || follows) {
      for (const ValueId v : node.results) made[static_cast<std::size_t>(v)] = true;
    }
    if (inside || region.hidden[static_cast<std::size_t>(node.results[0])]) continue;
    if (follows) {
      after.push_back(&node);
    } else {
      graph.nodes().push_back(node);
    }
  }
  Cutter(graph, before, stash, region, machine).run(mlp_part(region.rows, parts));
  for (const ir::Node* node : after) graph.nodes().push_back(*node);
}

}  // namespace

ir::Graph chunk_mlp(ir::Graph graph, std::int64_t parts, const kernels::Machine& machine) {
  if (parts == 1) return graph;
  std::vector<MlpRegion> regions = mlp_regions(graph, machine);
  std::erase_if(regions, [&](const MlpRegion& r) { return mlp_part(r.rows, parts) >= r.rows; });
  std::sort(regions.begin(), regions.end(),
            [](const MlpRegion& a, const MlpRegion& b) { return a.first() < b.first(); });
  const ir::Graph whole = graph;
  const Stash stash(whole);
  graph.nodes().clear();
  int next = 0;
  for (const MlpRegion& region : regions) {
    if (region.first() < next) continue;  // within another: both at once cannot be cut
    const auto at = whole.nodes().begin();
    graph.nodes().insert(graph.nodes().end(), at + next, at + region.first());
    append_cut(graph, whole.nodes(), stash, region, parts, machine);
    next = region.last() + 1;
  }
  graph.nodes().insert(graph.nodes().end(), whole.nodes().begin() + next, whole.nodes().end());
  return ir::without_dead_nodes(std::move(graph));
}

}  // namespace bessemer::passes

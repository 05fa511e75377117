#include "passes/tile_weights.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include <fmt/format.h>

#include "ops/builder.h"
#include "ops/divisible.h"
#include "ops/movement.h"
#include "passes/gradient_chains.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::Tier;
using ir::ValueId;

class WeightTiler {
 public:
  WeightTiler(const ir::Graph& source, const TierMap& tiers, const OffloadOptions& options,
              const cost::MachineDescription& machine)
      : source_(source),
        tiers_(tiers),
        options_(options),
        machine_(machine),
        graph_(source.name()),
        build_(graph_),
        map_(source.values().size(), kAbsent) {}

  ir::Graph run() {
    for (const ir::Input& input : source_.inputs()) add_input(input);
    chains_ = gradient_chains(
        source_, [&](const ir::Input& gradient) { return large_.contains(gradient.value); });
    for (const ir::Node& node : source_.nodes()) {
      build_.set_label(node.label);
      if (!lower(node)) copy(node);
    }
    for (const ir::Output& output : source_.outputs()) {
      graph_.outputs().push_back({output.kind, output.name, mapped(output.value)});
    }
    return std::move(graph_);
  }

 private:
  struct Tile {
    std::int64_t begin = 0, end = 0;  // rows
  };

  static std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }
  ValueId mapped(ValueId value) const { return value == kAbsent ? kAbsent : map_[index(value)]; }
  static ValueId operand(const ir::Node& node, std::size_t i) {
    return i < node.operands.size() ? node.operands[i] : kAbsent;
  }

  void add_input(const ir::Input& input) {
    const ir::Value& value = source_.value(input.value);
    const ValueId id = graph_.add_value(value.name, value.type, value.placement);
    graph_.bind_input({id, input.role, input.name});
    map_[index(input.value)] = id;
    const auto at = tiers_.find(input.name);
    if (at == tiers_.end() || value.type.rank() != 2) return;
    const bool can_be_cut = ops::is_large_matrix(value.type.dim(0), value.type.dim(1));
    if (can_be_cut && value.type.bytes() > options_.largest_fetch) {
      large_.emplace(input.value, at->second);
    }
  }

  void copy(const ir::Node& node) {
    std::vector<ValueId> operands;
    for (const ValueId o : node.operands) operands.push_back(mapped(o));
    set_results(node, build_.all(node.op, std::move(operands), node.attributes));
  }

  void set_results(const ir::Node& node, const std::vector<ValueId>& results) {
    for (std::size_t i = 0; i < results.size(); ++i) {
      map_[index(node.results[i])] = results[i];
      graph_.value(results[i]).placement = source_.value(node.results[i]).placement;
    }
  }

  // False where the node stays as it is.
  bool lower(const ir::Node& node) {
    const Sum sum = sum_of(node);
    const bool in_chain =
        sum.result >= 0 && chains_.contains(node.results[static_cast<std::size_t>(sum.result)]);
    if (node.op == "matmul") return in_chain ? weight_gradient(node) : product(node);
    if (node.op == "embedding") return lookup(node);
    if (node.op == "embedding_grad") return in_chain && lookup_gradient(node);
    if (node.op == "linear_cross_entropy") {
      return large_.contains(node.operands[1]) && head_forward(node);
    }
    if (node.op == "linear_cross_entropy_train") {
      const DType dtype = source_.type(node.operands[2]).dtype;
      if (machine_.cpu.avx512_bf16 && dtype == DType::bf16) return false;
      return (in_chain || large_.contains(node.operands[2])) && head(node);
    }
    return false;
  }

  // ---- Tiles.

  std::vector<Tile> tiles_of(ValueId tensor) const {
    const TensorType& type = source_.type(tensor);
    const std::int64_t rows = type.dim(0);
    if (!large_.contains(tensor)) return {{0, rows}};
    const std::int64_t block = ops::product_block_rows(type.dim(1));
    const std::size_t block_bytes =
        static_cast<std::size_t>(block * type.dim(1)) * size_of(type.dtype);
    const auto blocks = static_cast<std::int64_t>(options_.largest_fetch / block_bytes);
    const std::int64_t step = block * std::max<std::int64_t>(1, blocks);
    std::vector<Tile> tiles;
    for (std::int64_t begin = 0; begin < rows; begin += step) {
      tiles.push_back({begin, std::min(rows, begin + step)});
    }
    return tiles;
  }

  // Rows of what `value`, a value of this graph, holds.
  ValueId rows_of(ValueId value, const Tile& tile) {
    const TensorType type = graph_.type(value);
    if (tile.end - tile.begin == type.dim(0)) return value;
    const std::int64_t columns = type.dim(1);
    const ValueId piece = build_.add(
        "fetch", {value}, {{"begin", tile.begin * columns}, {"end", tile.end * columns}});
    return build_.reshape(piece, {tile.end - tile.begin, columns});
  }

  // A part of a gradient's chain: `make(tile, addend)` gives rows of the sum, which are stored.
  template <typename Make>
  void store_tiles(ValueId result, bool adds, const Make& make) {
    const ValueId gradient = chains_.at(result);
    const ValueId before = map_[index(gradient)];
    ValueId after = before;
    for (const Tile& tile : tiles_of(gradient)) {
      const ValueId made = make(tile, adds ? rows_of(before, tile) : kAbsent);
      const std::int64_t skipped = tile.begin * source_.type(gradient).dim(1);
      after = build_.add("store", {made, after}, {{"begin", skipped}});
    }
    map_[index(gradient)] = map_[index(result)] = after;
  }

  // ---- Products.

  bool product(const ir::Node& node) {
    if (!large_.contains(node.operands[1])) return false;
    const bool transpose_a = node.attributes.boolean("transpose_a", false);
    if (transpose_a) return false;
    return node.attributes.boolean("transpose_b", false) ? columns(node) : depth(node);
  }

  bool columns(const ir::Node& node) {
    Attributes attributes;
    const std::string activation = node.attributes.text("activation", "none");
    if (activation != "none") attributes.set("activation", activation);
    const ValueId y =
        columns_of(mapped(node.operands[0]), node.operands[1], source_.type(node.results[0]),
                   mapped(operand(node, 2)), mapped(operand(node, 3)), attributes);
    set_results(node, {y});
    return true;
  }

  static Attributes part(std::string name, std::int64_t begin, Attributes more) {
    more.set("part", std::move(name));
    more.set("begin", begin);
    return more;
  }

  ValueId columns_of(ValueId x, ValueId w, const TensorType& type, ValueId bias, ValueId addend,
                     const Attributes& more) {
    ValueId y = build_.add(
        "fill", {},
        {{"shape", type.shape}, {"dtype", std::string(name_of(type.dtype))}, {"value", 0.0}});
    for (const Tile& tile : tiles_of(w)) {
      y = build_.add("matmul_tile", {x, rows_of(mapped(w), tile), bias, addend, y},
                     part("columns", tile.begin, more));
    }
    return y;
  }

  bool depth(const ir::Node& node) {
    const bool plain =
        operand(node, 2) == kAbsent && node.attributes.text("activation", "none") == "none";
    if (!plain) return false;
    const TensorType& type = source_.type(node.results[0]);
    const ValueId addend = mapped(operand(node, 3));
    const bool fp32 = type.dtype == DType::fp32;
    const ValueId sum =
        sum_over_tiles(mapped(node.operands[0]), node.operands[1], fp32 ? addend : kAbsent, {});
    set_results(node, {fp32 ? sum : rounded(sum, type.dtype, addend)});
    return true;
  }

  ValueId sum_over_tiles(ValueId x, ValueId w, ValueId sum, const Attributes& more) {
    for (const Tile& tile : tiles_of(w)) {
      sum = build_.add("matmul_tile", {x, rows_of(mapped(w), tile), kAbsent, sum},
                       part("depth", tile.begin, more));
    }
    return sum;
  }

  ValueId rounded(ValueId sum, DType dtype, ValueId addend = kAbsent) {
    if (addend != kAbsent) return build_.add("add", {addend, sum});
    if (graph_.type(sum).dtype == dtype) return sum;
    return build_.add("cast", {sum}, {{"dtype", std::string(name_of(dtype))}});
  }

  ValueId gradient_rows(ValueId dy, ValueId x, const Tile& tile, ValueId addend,
                        const Attributes& more) {
    Attributes attributes = part("rows", tile.begin, more);
    attributes.set("end", tile.end);
    return build_.add("matmul_tile", {dy, x, kAbsent, addend}, attributes);
  }

  bool weight_gradient(const ir::Node& node) {
    const ValueId dy = mapped(node.operands[0]), x = mapped(node.operands[1]);
    store_tiles(
        node.results[0], operand(node, 3) != kAbsent,
        [&](const Tile& tile, ValueId addend) { return gradient_rows(dy, x, tile, addend, {}); });
    return true;
  }

  // ---- Tables.

  // On the host it reads only the rows that it needs.
  bool lookup(const ir::Node& node) {
    const ValueId copy = rounded_table(source_, node, tiers_);
    const ValueId table = copy == kAbsent ? node.operands[0] : copy;
    const auto at = large_.find(table);
    if (at == large_.end() || at->second == Tier::host) return false;
    ValueId y = kAbsent;
    for (const Tile& tile : tiles_of(table)) {
      Attributes attributes = node.attributes;
      attributes.set("first", tile.begin);
      std::vector<ValueId> operands{rows_of(mapped(table), tile), mapped(node.operands[1])};
      if (y != kAbsent) operands.push_back(y);
      y = build_.add("embedding", std::move(operands), attributes);
    }
    set_results(node, {y});
    return true;
  }

  bool lookup_gradient(const ir::Node& node) {
    const ValueId dy = mapped(node.operands[0]), ids = mapped(node.operands[1]);
    store_tiles(node.results[0], operand(node, 2) != kAbsent,
                [&](const Tile& tile, ValueId addend) {
                  return build_.add("embedding_grad", {dy, ids, addend},
                                    {{"rows", tile.end - tile.begin}, {"first", tile.begin}});
                });
    return true;
  }

  // ---- The head.

  ValueId chunk_of(ValueId value, const Tile& rows) {
    const ValueId whole = mapped(value);
    if (rows.end - rows.begin == graph_.type(whole).dim(0)) return whole;
    return build_.add("slice", {whole},
                      {{"dim", std::int64_t{0}}, {"begin", rows.begin}, {"end", rows.end}});
  }

  // The products of the head are made as its kernel makes them.
  static Attributes head_attributes(const ops::HeadChunk& chunk) {
    return chunk.divisible ? Attributes{{"divisible", true}} : Attributes{};
  }

  ValueId logits_of(ValueId x, ValueId w, const Attributes& more) {
    const TensorType type{DType::fp32, {graph_.type(x).dim(0), source_.type(w).dim(0)}};
    return columns_of(x, w, type, kAbsent, kAbsent, more);
  }

  ops::HeadChunk chunk_of_head(const ir::Node& node) const {
    std::vector<TensorType> results;
    for (const ValueId result : node.results) results.push_back(source_.type(result));
    return ops::head_chunk(ops::use_of(source_, node), results, machine_.cpu);
  }

  static std::vector<Tile> chunks_of(std::int64_t rows, std::int64_t step) {
    std::vector<Tile> chunks;
    for (std::int64_t row = 0; row < rows; row += step) {
      chunks.push_back({row, std::min(rows, row + step)});
    }
    return chunks;
  }

  ValueId joined(const std::vector<ValueId>& parts) {
    if (parts.size() == 1) return parts.front();
    return build_.add("concat", parts, {{"dim", std::int64_t{0}}});
  }

  bool head_forward(const ir::Node& node) {
    const ValueId x = node.operands[0], w = node.operands[1], targets = node.operands[2];
    std::vector<ValueId> lse;
    ValueId loss = kAbsent;
    const ops::HeadChunk chunk = chunk_of_head(node);
    const Attributes more = head_attributes(chunk);
    for (const Tile& rows : chunks_of(source_.type(x).dim(0), chunk.rows)) {
      const ValueId logits = logits_of(chunk_of(x, rows), w, more);
      const auto made = build_.all("cross_entropy_rows", {logits, chunk_of(targets, rows), loss});
      loss = made[0];
      lse.push_back(made[1]);
    }
    set_results(node, {rounded(loss, source_.type(node.results[0]).dtype), joined(lse)});
    return true;
  }

  bool head(const ir::Node& node) {
    const ValueId dloss = mapped(node.operands[0]);
    const ValueId x = node.operands[1], w = node.operands[2], targets = node.operands[3];
    const bool in_chain = chains_.contains(node.results[2]);
    ValueId addend = operand(node, 4), loss = kAbsent;
    std::vector<ValueId> dx;
    const ops::HeadChunk chunk = chunk_of_head(node);
    const Attributes more = head_attributes(chunk);
    for (const Tile& rows : chunks_of(source_.type(x).dim(0), chunk.rows)) {
      const ValueId x_rows = chunk_of(x, rows);
      const auto made =
          build_.all("cross_entropy_rows_train",
                     {logits_of(x_rows, w, more), chunk_of(targets, rows), dloss, loss});
      loss = made[0];
      const ValueId gradient = made[1];
      dx.push_back(rounded(sum_over_tiles(gradient, w, kAbsent, more), source_.type(x).dtype));
      const bool adds = rows.begin > 0 || addend != kAbsent;
      const auto make = [&](const Tile& tile, ValueId before) {
        return gradient_rows(gradient, x_rows, tile, before, more);
      };
      if (in_chain) {
        store_tiles(node.results[2], adds, make);
      } else {
        const ValueId before = rows.begin > 0 ? map_[index(node.results[2])] : mapped(addend);
        map_[index(node.results[2])] = make({0, source_.type(w).dim(0)}, before);
      }
    }
    const ValueId whole_dw = mapped(node.results[2]);
    set_results(node, {rounded(loss, source_.type(node.results[0]).dtype), joined(dx), whole_dw});
    return true;
  }

  const ir::Graph& source_;
  const TierMap& tiers_;
  const OffloadOptions& options_;
  const cost::MachineDescription& machine_;
  ir::Graph graph_;
  ops::Builder build_;
  std::vector<ValueId> map_;                 // by value of the source; of a gradient: as it is now
  std::unordered_map<ValueId, Tier> large_;  // inputs of the source that are tiled
  GradientChains chains_;
};

}  // namespace

ir::ValueId rounded_table(const ir::Graph& graph, const ir::Node& embedding, const TierMap& tiers) {
  const auto input =
      std::find_if(graph.inputs().begin(), graph.inputs().end(),
                   [&](const ir::Input& in) { return in.value == embedding.operands[0]; });
  if (input == graph.inputs().end() || !tiers.contains(input->name)) return kAbsent;
  const std::string_view dtype = name_of(graph.type(embedding.results[0]).dtype);
  const ir::Input* rounded = graph.find_input(fmt::format("weight.{}.{}", input->name, dtype));
  return rounded == nullptr ? kAbsent : rounded->value;
}

ir::Graph tile_weights(ir::Graph graph, const TierMap& tiers, const OffloadOptions& options,
                       const cost::MachineDescription& machine) {
  if (options.largest_fetch == std::numeric_limits<std::size_t>::max()) return graph;
  return WeightTiler(graph, tiers, options, machine).run();
}

}  // namespace bessemer::passes

#include "passes/offload_rewrite.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "cost/node_seconds.h"
#include "ops/movement.h"
#include "ops/op.h"
#include "passes/stash_moves.h"
#include "passes/tile_weights.h"
#include "passes/tiered_builder.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::Tier;
using ir::ValueId;

class TierRewriter {
 public:
  TierRewriter(const ir::Graph& source, const TierMap& tiers, const OffloadOptions& options,
               const cost::MachineDescription& machine)
      : source_(source),
        tiers_(tiers),
        options_(options),
        machine_(machine),
        build_(source.name()),
        map_(source.values().size(), kAbsent),
        stash_(find_stash_moves(source, options, machine)) {}

  ir::Graph run() {
    add_inputs();
    find_homes();
    for (now_ = 0; now_ < source_.nodes().size(); ++now_) {
      const ir::Node& node = source_.nodes()[now_];
      while (!tiled_.empty() && due_ <= clock_) put_tile();
      lower(node);
      clock_ += cost::node_seconds(source_, node, machine_);
      for (const ValueId result : node.results) store_away(result);
    }
    finish_tiles();
    for (const ir::Output& output : source_.outputs()) add_output(output);
    return std::move(build_.graph());
  }

 private:
  static std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }
  ValueId mapped(ValueId value) const { return value == kAbsent ? kAbsent : map_[index(value)]; }
  Tier tier(ValueId value) const { return build_.tier(mapped(value)); }

  void add_inputs() {
    ir::Graph& graph = build_.graph();
    for (const ir::Input& input : source_.inputs()) {
      const ir::Value& value = source_.value(input.value);
      const ValueId id = graph.add_value(value.name, value.type, value.placement);
      if (const auto at = tiers_.find(input.name); at != tiers_.end()) {
        graph.value(id).tier = at->second;
      }
      graph.bind_input({id, input.role, input.name});
      map_[index(input.value)] = id;
    }
  }

  // Where values that replace persistent tensors belong.
  void find_homes() {
    for (const ir::Output& output : source_.outputs()) {
      if (output.kind != ir::Output::Kind::write) continue;
      home_of_.emplace(output.value, source_.find_input(output.name)->value);
    }
  }

  void lower(ir::Node node) {
    if (ops::moves_between_tiers(node.op)) return lower_movement(node);
    if (node.op == "embedding") read_rounded_table(node);
    if (!goes_to_host(node) && goes_in_tiles(node)) return add_tiled(source_.nodes()[now_]);
    if (reads_unfinished(node)) finish_tiles();
    build_.set_label(node.label);
    if (ops::definition_of(node.op).is_view) return lower_view(node);
    if (goes_to_host(node)) return copy(node, Tier::host);
    if (node.op == "global_norm" && (any_in(node, Tier::file) || any_in(node, Tier::host))) {
      return norm_in_tiles(node);
    }
    copy(node, Tier::device);
  }

  // Where its tensors lie on the host, and none in the file. AdamW follows its state: gradients and
  // parameters come to it. Beside a device that is not the processor nothing does: its scalars, the
  // clip coefficient before all, are on the device, and the host would have to wait for them.
  bool goes_to_host(const ir::Node& node) const {
    if (machine_.cpu.device != kernels::Backend::cpu) return false;
    if (!ops::definition_of(node.op).runs_on_host || any_in(node, Tier::file)) return false;
    if (node.op != "adamw_update") return any_in(node, Tier::host);
    return tier(node.operands[2]) == Tier::host && tier(node.operands[3]) == Tier::host;
  }

  bool any_in(const ir::Node& node, Tier wanted) const {
    return std::any_of(node.operands.begin(), node.operands.end(), [&](ValueId operand) {
      return operand != kAbsent && tier(operand) == wanted;
    });
  }

  void set_results(const ir::Node& node, const std::vector<ValueId>& results) {
    for (std::size_t i = 0; i < results.size(); ++i) {
      map_[index(node.results[i])] = results[i];
      build_.graph().value(results[i]).placement = source_.value(node.results[i]).placement;
    }
  }

  // The node as it is, with its tensors in `where`.
  void copy(const ir::Node& node, Tier where) {
    std::vector<ValueId> operands;
    for (const ValueId operand : node.operands) {
      if (operand == kAbsent) {
        operands.push_back(kAbsent);
      } else if (where == Tier::device) {
        operands.push_back(on_device(operand));
      } else {
        const bool scalar = source_.type(operand).rank() == 0;
        operands.push_back(scalar ? mapped(operand) : build_.moved(mapped(operand), where));
      }
    }
    set_results(node, build_.add(node.op, std::move(operands), node.attributes, where));
  }

  // An embedding of a table that is away, which rounds what it reads, may read the rounded copy
  // that the head has.
  void read_rounded_table(ir::Node& node) const {
    const ValueId rounded = rounded_table(source_, node, tiers_);
    if (rounded != kAbsent) node.operands[0] = rounded;
  }

  // Movement that is there already (tile_weights): of parts of tensors, from and to their tiers.
  void lower_movement(const ir::Node& node) {
    std::vector<ValueId> operands;
    for (const ValueId operand : node.operands) operands.push_back(mapped(operand));
    if (node.op == "store") operands[0] = on_device(node.operands[0]);
    const Tier to = node.op == "fetch" ? Tier::device : build_.tier(operands.at(1));
    set_results(node, build_.add(node.op, std::move(operands), node.attributes, to));
  }

  // Views stay where their operand is; in backward they are made anew of a stash that was away.
  void lower_view(const ir::Node& node) {
    const ValueId from = node.operands[0];
    const ValueId operand = is_away(from) ? on_device(from) : mapped(from);
    set_results(node, build_.add(node.op, {operand}, node.attributes, build_.tier(operand)));
  }

  // ---- Values on the device.

  bool is_away(ValueId value) const {
    return now_ > stash_.boundary && stashed_.contains(stash_.root[index(value)]);
  }

  // The value for a use by the present node, fetched where it is not on the device. A fetched copy
  // serves later uses too, as long as the pause between two uses is not worth a fetch.
  ValueId on_device(ValueId value) {
    const ValueId root = is_away(value) ? stash_.root[index(value)] : value;
    const ValueId kept = is_away(value) ? stashed_.at(root) : mapped(value);
    if (build_.tier(kept) == Tier::device) return mapped(value);
    const auto at = here_.find(root);
    const double pause =
        at == here_.end() ? std::numeric_limits<double>::infinity() : clock_ - at->second.last_use;
    const double fetch =
        cost::transfer_seconds(static_cast<double>(build_.type(kept).bytes()), build_.tier(kept),
                               cost::Direction::to_device, machine_);
    ValueId here = at == here_.end() ? kAbsent : at->second.value;
    if (here == kAbsent || pause > options_.patience * fetch) here = build_.fetch(kept);
    here_[root] = {here, clock_};
    if (value == root) return here;
    return build_.add("reshape", {here}, {{"shape", source_.type(value).shape}}).front();
  }

  // A piece [begin, end) of a tensor, or all of it in its own shape.
  ValueId piece(ValueId value, std::int64_t begin, std::int64_t end) {
    const auto home = at_home_.find(value);
    return build_.fetch(home == at_home_.end() ? mapped(value) : home->second, begin, end);
  }

  // ---- Values where they are kept.

  // Moves a result to the tier of the tensor that it replaces, and the stash to its own.
  void store_away(ValueId value) {
    if (mapped(value) == kAbsent || unfinished_.contains(value)) return;
    if (const auto home = home_of_.find(value); home != home_of_.end()) {
      at_home_[value] = build_.moved(mapped(value), tier(home->second));
    }
    if (now_ <= stash_.boundary && stash_.values.contains(value)) {
      const bool here = build_.tier(mapped(value)) == Tier::device;
      stashed_[value] = here ? build_.store(mapped(value), options_.activations) : mapped(value);
    }
  }

  void add_output(const ir::Output& output) {
    if (output.kind == ir::Output::Kind::result) {
      return build_.graph().add_result(output.name, on_device(output.value));
    }
    const ValueId home = source_.find_input(output.name)->value;
    const auto at = at_home_.find(output.value);
    const ValueId value = at == at_home_.end() ? mapped(output.value) : at->second;
    build_.graph().add_write(output.name, build_.moved(value, tier(home)));
  }

  // ---- Updates in tiles.

  std::int64_t tile_elements() const {
    const auto wanted = static_cast<std::int64_t>(options_.tile / sizeof(float));
    return std::max<std::int64_t>(1, wanted / ops::kNormBlock) * ops::kNormBlock;
  }

  // The tensor that result i replaces; kAbsent where it replaces none.
  ValueId replaced_by(const ir::Node& node, std::size_t i) const {
    const auto home = home_of_.find(node.results[i]);
    return home == home_of_.end() ? kAbsent : home->second;
  }

  // An element-wise update is cut where something of it is off the device and it is larger than a
  // tile.
  bool goes_in_tiles(const ir::Node& node) const {
    if (node.op != "adamw_update" && node.op != "cast") return false;
    if (!any_in(node, Tier::host) && !any_in(node, Tier::file)) return false;
    if (source_.type(node.operands[0]).elements() <= tile_elements()) return false;
    for (std::size_t i = 0; i < node.results.size(); ++i) {
      if (replaced_by(node, i) == kAbsent) return false;
    }
    return true;
  }

  template <typename Body>
  void for_each_tile(std::int64_t elements, const Body& body) {
    for (std::int64_t begin = 0; begin < elements; begin += tile_elements()) {
      body(begin, std::min(elements, begin + tile_elements()));
    }
  }

  // The node is run on pieces of its operands (scalars whole), each result stored into what it
  // replaces. The pieces stand no nearer to each other than their links take, as long as there is
  // other work: so they do not stop the arithmetic.
  void add_tiled(const ir::Node& node) {
    Tiled fresh{&node, {}, 0};
    for (std::size_t r = 0; r < node.results.size(); ++r) {
      fresh.into.push_back(mapped(replaced_by(node, r)));
      unfinished_.insert(node.results[r]);
    }
    set_results(node, fresh.into);  // not yet the new values, but where they will be
    if (tiled_.empty()) due_ = std::max(due_, clock_) + tile_seconds(node);
    tiled_.push_back(std::move(fresh));
  }

  bool reads_unfinished(const ir::Node& node) const {
    return std::any_of(node.operands.begin(), node.operands.end(),
                       [&](ValueId operand) { return unfinished_.contains(operand); });
  }

  void finish_tiles() {
    while (!tiled_.empty()) put_tile();
  }

  void put_tile() {
    Tiled& tiled = tiled_.front();
    const ir::Node& node = *tiled.node;
    build_.set_label(node.label);
    const std::int64_t elements = source_.type(node.operands[0]).elements();
    const std::int64_t end = std::min(elements, tiled.begin + tile_elements());
    std::vector<ValueId> operands;
    for (const ValueId operand : node.operands) {
      const bool scalar = source_.type(operand).rank() == 0;
      operands.push_back(scalar ? mapped(operand) : piece(operand, tiled.begin, end));
    }
    Attributes attributes = node.attributes;
    // A piece of a parameter that is rounded at random draws what belongs to its elements.
    if (attributes.find("seed") != nullptr) attributes.set("first", tiled.begin);
    const auto results = build_.add(node.op, operands, attributes);
    for (std::size_t r = 0; r < results.size(); ++r) {
      tiled.into[r] = build_.store(results[r], tiled.into[r], tiled.begin);
    }
    tiled.begin = end;
    if (end == elements) finish_front();
    if (!tiled_.empty()) due_ += tile_seconds(*tiled_.front().node);
  }

  void finish_front() {
    const Tiled done = std::move(tiled_.front());
    tiled_.pop_front();
    set_results(*done.node, done.into);
    for (std::size_t r = 0; r < done.into.size(); ++r) {
      unfinished_.erase(done.node->results[r]);
      at_home_[done.node->results[r]] = done.into[r];
    }
  }

  // What the busier of its two links needs for one piece.
  double tile_seconds(const ir::Node& node) const {
    double fetched = 0, stored = 0;
    const auto seconds = [&](ValueId value, cost::Direction direction) {
      if (source_.type(value).rank() == 0 || tier(value) == Tier::device) return 0.0;
      const std::size_t bytes = size_of(source_.type(value).dtype);
      const auto elements = std::min(source_.type(value).elements(), tile_elements());
      return cost::transfer_seconds(static_cast<double>(elements) * static_cast<double>(bytes),
                                    tier(value), direction, machine_);
    };
    for (const ValueId o : node.operands) fetched += seconds(o, cost::Direction::to_device);
    for (const ValueId r : node.results) stored += seconds(r, cost::Direction::from_device);
    return std::max(fetched, stored);
  }

  void norm_in_tiles(const ir::Node& node) {
    std::vector<ValueId> sums;
    for (const ValueId gradient : node.operands) {
      if (tier(gradient) == Tier::device) {
        sums.push_back(build_.add("sum_of_squares", {mapped(gradient)}, {}).front());
        continue;
      }
      for_each_tile(source_.type(gradient).elements(), [&](std::int64_t begin, std::int64_t end) {
        sums.push_back(build_.add("sum_of_squares", {piece(gradient, begin, end)}, {}).front());
      });
    }
    const std::string dtype(name_of(source_.type(node.results[0]).dtype));
    set_results(node, build_.add("norm_of_sums", std::move(sums), {{"dtype", dtype}}));
  }

  struct Here {
    ValueId value = kAbsent;
    double last_use = 0;
  };

  struct Tiled {
    const ir::Node* node;       // of the source
    std::vector<ValueId> into;  // what its results replace, as far as it is replaced
    std::int64_t begin;         // of the next piece
  };

  const ir::Graph& source_;
  const TierMap& tiers_;
  const OffloadOptions& options_;
  const cost::MachineDescription& machine_;
  TieredBuilder build_;
  std::vector<ValueId> map_;  // by value of the source: the same where it lies after its node
  StashMoves stash_;
  std::size_t now_ = 0;                           // the node of the source that is being lowered
  double clock_ = 0;                              // predicted seconds before it
  std::unordered_map<ValueId, ValueId> home_of_;  // by value that is written: the input
  std::unordered_map<ValueId, ValueId> at_home_;  // the same, moved to the input's tier
  std::unordered_map<ValueId, ValueId> stashed_;  // by root: where it was stored
  std::unordered_map<ValueId, Here> here_;        // fetched copies
  std::deque<Tiled> tiled_;                       // in order, each done before the next one
  std::unordered_set<ValueId> unfinished_;        // their results
  double due_ = 0;                                // when their links have the next piece here
};

}  // namespace

ir::Graph rewrite_for_tiers(const ir::Graph& graph, const TierMap& tiers,
                            const OffloadOptions& options,
                            const cost::MachineDescription& machine) {
  return TierRewriter(graph, tiers, options, machine).run();
}

}  // namespace bessemer::passes

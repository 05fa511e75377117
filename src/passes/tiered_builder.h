// Builds a graph some of whose values lie in lower tiers: appends nodes and moves values.
#pragma once

#include <string>
#include <vector>

#include "ops/builder.h"

namespace bessemer::passes {

class TieredBuilder {
 public:
  explicit TieredBuilder(std::string name) : graph_(std::move(name)), builder_(graph_) {}

  ir::Graph& graph() { return graph_; }
  ir::Tier tier(ir::ValueId value) const { return graph_.tier(value); }
  const TensorType& type(ir::ValueId value) const { return graph_.type(value); }
  void set_label(const std::string& label) { builder_.set_label(label); }

  /// A node whose tensors all lie in `tier`.
  std::vector<ir::ValueId> add(const std::string& op, std::vector<ir::ValueId> operands,
                               const Attributes& attributes, ir::Tier tier = ir::Tier::device) {
    const std::vector<ir::ValueId> results = builder_.all(op, std::move(operands), attributes);
    for (const ir::ValueId result : results) {
      if (type(result).rank() > 0) graph_.value(result).tier = tier;
    }
    return results;
  }

  ir::ValueId fetch(ir::ValueId value) { return builder_.add("fetch", {value}); }
  ir::ValueId fetch(ir::ValueId value, std::int64_t begin, std::int64_t end) {
    return builder_.add("fetch", {value}, {{"begin", begin}, {"end", end}});
  }
  ir::ValueId store(ir::ValueId value, ir::Tier tier) {
    return add("store", {value}, {}, tier).front();
  }
  /// `into` with its elements from `begin` on replaced.
  ir::ValueId store(ir::ValueId value, ir::ValueId into, std::int64_t begin) {
    return add("store", {value, into}, {{"begin", begin}}, tier(into)).front();
  }

  /// The value in `tier`, by way of the device where it must be.
  ir::ValueId moved(ir::ValueId value, ir::Tier to) {
    if (tier(value) == to) return value;
    const ir::ValueId here = tier(value) == ir::Tier::device ? value : fetch(value);
    return to == ir::Tier::device ? here : store(here, to);
  }

 private:
  ir::Graph graph_;
  ops::Builder builder_;
};

}  // namespace bessemer::passes

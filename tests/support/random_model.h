// Small random losses of matrix products, norms, activations and dropout: forward graphs to be
// differentiated, with values of different sizes and now and then a residual connection.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "ops/builder.h"

namespace bessemer::testing {

class RandomModel {
 public:
  explicit RandomModel(std::uint64_t seed) : rng_(seed, 0, 0), builder_(graph_) {}

  /// `nodes` random nodes and those that make them into a scalar "loss".
  ir::Graph make(int nodes) {
    fresh(graph_.add_input(ir::Role::data, "x", {DType::fp32, {kRows, 16}}));
    counter_ = graph_.add_input(ir::Role::data, "counter", {DType::int64, {3}});
    for (int i = 0; i < nodes; ++i) add_node();
    ir::ValueId loss = ir::kAbsent;  // of all that nothing uses yet
    for (const ir::ValueId v : unused_) {
      loss = builder_.sum(loss, builder_.add("reduce_sum", {v}, {{"dims", Shape{0, 1}}}));
    }
    graph_.add_result("loss", loss);
    return ir::without_dead_nodes(std::move(graph_));
  }

 private:
  static constexpr std::int64_t kRows = 8;
  int below(std::uint32_t n) { return static_cast<int>(rng_.word(next_++) % n); }

  // Late values more often: chains, as in a deep model.
  ir::ValueId any() {
    const auto size = static_cast<std::uint32_t>(pool_.size());
    const int last = below(3) == 0 ? below(size) : below(std::min(size, 2u));
    return use(pool_[pool_.size() - 1 - static_cast<std::size_t>(last)]);
  }

  ir::ValueId use(ir::ValueId v) {
    std::erase(unused_, v);
    return v;
  }

  void fresh(ir::ValueId v) {
    pool_.push_back(v);
    unused_.push_back(v);
  }

  // A value of the type of `a`, maybe `a` itself.
  ir::ValueId like(ir::ValueId a) {
    std::vector<ir::ValueId> alike;
    for (const ir::ValueId v : pool_) {
      if (graph_.type(v) == graph_.type(a)) alike.push_back(v);
    }
    return use(alike[static_cast<std::size_t>(below(static_cast<std::uint32_t>(alike.size())))]);
  }

  ir::ValueId parameter(Shape shape) {
    return graph_.add_input(ir::Role::parameter, "p." + std::to_string(parameters_++),
                            {DType::fp32, std::move(shape)});
  }

  void add_node() {
    const ir::ValueId a = any();
    const std::int64_t width = graph_.type(a).dim(-1);
    switch (below(9)) {
      case 0: return fresh(builder_.add("add", {a, like(a)}));
      case 1: return fresh(builder_.add("multiply", {a, like(a)}));
      case 2: return fresh(builder_.add("silu", {a}));
      case 3: return fresh(builder_.add("gelu", {a}, {{"approximate", std::string("tanh")}}));
      case 4: return fresh(builder_.add("rms_norm", {a, parameter({width})}, {{"epsilon", 1e-5}}));
      case 5:
        return fresh(builder_.add("dropout", {a, counter_},
                                  {{"probability", 0.25}, {"site", std::int64_t{parameters_++}}}));
      case 6: return fresh(builder_.reshape(builder_.reshape(a, {kRows * width}), {kRows, width}));
      default: {
        const std::int64_t wide = std::int64_t{8} << below(3);
        return fresh(builder_.add("matmul", {a, parameter({width, wide})}));
      }
    }
  }

  CounterRng rng_;
  std::uint64_t next_ = 0;
  ir::Graph graph_{"random"};
  ops::Builder builder_;
  std::vector<ir::ValueId> pool_, unused_;
  ir::ValueId counter_ = ir::kAbsent;
  int parameters_ = 0;
};

}  // namespace bessemer::testing

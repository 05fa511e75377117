// Graphs of matrix products and element-wise ops that read and replace persistent tensors in every
// way a program may: for the storage of a plan to get wrong.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "ops/builder.h"

namespace bessemer::testing {

class RandomGraph {
 public:
  explicit RandomGraph(std::uint64_t seed) : rng_(seed, 0, 0), builder_(graph_) {}

  ir::Graph make() {
    constexpr int kPersistent = 5;
    for (int i = 0; i < kPersistent; ++i) {
      pool_.push_back(graph_.add_input(ir::Role::parameter, name_of(i), {DType::fp32, {8, 8}}));
    }
    pool_.push_back(graph_.add_input(ir::Role::data, "x", {DType::fp32, {8, 8}}));
    bias_ = graph_.add_input(ir::Role::data, "bias", {DType::fp32, {8}});
    const int nodes = 3 + below(12);
    for (int i = 0; i < nodes; ++i) add_node();
    for (int i = 0; i < kPersistent; ++i) {
      if (below(3) > 0) graph_.add_write(name_of(i), any());
    }
    graph_.add_result("y", pool_.back());
    if (below(2) == 0) graph_.add_result("z", any());
    return ir::without_dead_nodes(std::move(graph_));
  }

 private:
  static std::string name_of(int i) { return "p." + std::to_string(i); }
  int below(std::uint32_t n) { return static_cast<int>(rng_.word(next_++) % n); }

  // Late values more often: chains, and values used once.
  ir::ValueId any() {
    const auto size = static_cast<std::uint32_t>(pool_.size());
    const int last = below(2) == 0 ? below(size) : below(std::min(size, 3u));
    return pool_[pool_.size() - 1 - static_cast<std::size_t>(last)];
  }

  void add_node() {
    const ir::ValueId a = any();
    switch (below(8)) {
      case 0: pool_.push_back(builder_.add("add", {a, any()})); break;
      case 1: pool_.push_back(builder_.add("multiply", {a, any()})); break;
      case 2: pool_.push_back(builder_.add("scale", {a}, {{"factor", 0.5}})); break;
      case 3: pool_.push_back(builder_.add("silu", {a})); break;
      case 4: pool_.push_back(builder_.add("add", {a, bias_})); break;
      case 5: pool_.push_back(builder_.add("matmul", {a, any(), ir::kAbsent, any()})); break;
      case 6: {  // two results, each of which may take an operand's place
        const auto both = builder_.all("swiglu_grad", {any(), a, any()});
        pool_.insert(pool_.end(), both.begin(), both.end());
        break;
      }
      default:  // views of views
        pool_.push_back(builder_.reshape(builder_.reshape(a, {64}), {8, 8}));
    }
  }

  CounterRng rng_;
  std::uint64_t next_ = 0;
  ir::Graph graph_{"random"};
  ops::Builder builder_;
  std::vector<ir::ValueId> pool_;  // all fp32[8,8]
  ir::ValueId bias_ = ir::kAbsent;
};

}  // namespace bessemer::testing

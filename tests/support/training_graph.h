// Random forward graphs made into steps that are ready to be planned.
#pragma once

#include "passes/differentiate.h"
#include "passes/fuse.h"
#include "passes/order.h"
#include "support/random_model.h"

namespace bessemer::testing {

/// Loss and gradients of a random model of `nodes` nodes, fused and in order.
inline ir::Graph random_training_graph(std::uint64_t seed, int nodes) {
  ir::Graph graph =
      passes::differentiate(RandomModel(seed).make(nodes), passes::GradientMode::overwrite);
  return passes::order(passes::fuse_elementwise(passes::fuse_addends(std::move(graph))));
}

}  // namespace bessemer::testing

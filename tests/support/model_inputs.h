// Tiny models, and something to feed their graphs with.
#pragma once

#include <string>

#include "models/model.h"
#include "support/graph_runner.h"

namespace bessemer::testing {

inline models::Architecture tiny_gpt2() {
  models::Architecture a;
  a.family = models::Family::gpt2;
  a.layers = 2;
  a.hidden = 8;
  a.heads = a.kv_heads = 2;
  a.head_dim = 4;
  a.ffn = 12;
  a.context = 6;
  a.vocabulary = 11;
  a.tied_embeddings = a.qkv_bias = a.output_bias = a.mlp_bias = true;
  return a;
}

inline models::Architecture tiny_llama() {
  models::Architecture a = tiny_gpt2();
  a.family = models::Family::llama;
  a.kv_heads = 1;
  a.tied_embeddings = a.qkv_bias = a.output_bias = a.mlp_bias = false;
  return a;
}

inline std::uint64_t seed_of(std::string_view name, std::uint64_t seed) {
  for (const char c : name) seed = seed * 1099511628211u + static_cast<unsigned char>(c);
  return seed;
}

/// A value for one input of a step's graph, by its role and name: a function of `seed` too.
/// `tokens` are ids below `vocabulary`, one document a sequence.
inline Tensor value_for(const ir::Input& input, const TensorType& type, std::int64_t vocabulary,
                        std::uint64_t seed) {
  const std::uint64_t own = seed_of(input.name, seed);
  Tensor tensor(type);
  const auto fill = [&](auto value_of) {
    for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, value_of(i));
    return tensor;
  };
  if (input.name == "tokens") return integers(type, own, 0, vocabulary);
  if (input.name == "targets") return integers(type, own, -1, vocabulary);  // -1: no target
  if (input.name == "positions") {
    return fill([&](std::int64_t i) { return static_cast<double>(i % type.dim(-1)); });
  }
  if (input.name == "visibility") {
    return fill(
        [&](std::int64_t i) { return i % 2 == 0 ? 0.0 : static_cast<double>(type.dim(1)); });
  }
  if (input.name == "counter") return integers(type, own, 0, 1000);
  if (input.name == "optimizer.step") return tensor;  // 0: nothing updated yet
  if (input.name == "learning_rate") return fill([](std::int64_t) { return 1e-2; });
  if (input.name == "loss" || input.name == "loss_scale") {
    return fill([](std::int64_t) { return 0.25; });
  }
  if (input.role == ir::Role::optimizer) return tensor;
  const double deviation = input.role == ir::Role::parameter ? 0.5 : 1.0;
  tensor = normal(type, own, deviation);
  const bool gain = input.name.find("norm") != std::string::npos && input.name.ends_with("weight");
  if (gain) return fill([&](std::int64_t i) { return 1 + 0.2 * tensor.get(i); });
  return tensor;
}

inline NamedTensors values_for(const ir::Graph& graph, std::int64_t vocabulary,
                               std::uint64_t seed) {
  NamedTensors values;
  for (const ir::Input& input : graph.inputs()) {
    values.emplace(input.name, value_for(input, graph.type(input.value), vocabulary, seed));
  }
  return values;
}

}  // namespace bessemer::testing

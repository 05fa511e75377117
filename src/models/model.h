// Architecture -> forward graph, written as if for one device with infinite memory. One file a
// family: gpt2.cpp, llama.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "models/architecture.h"
#include "ops/builder.h"

namespace bessemer::models {

struct BatchShape {
  std::int64_t sequences = 1;
  std::int64_t length = 1;  // tokens of a sequence
};

/// Forward pass of one micro-batch, in `dtype` throughout (fp32; fp64 in tests).
///   data    tokens, targets, positions: int32 [B,T]; visibility: int32 [B,T,2];
///           counter: int64 [3] where the architecture has dropout
///   result  "loss": sum over the targets >= 0 of the cross-entropy, in nats
ir::Graph loss_graph(const Architecture& architecture, BatchShape shape, DType dtype = DType::fp32);

/// The same up to the logits of every position: result "logits" [B,T,V]. For tests and scoring.
ir::Graph logits_graph(const Architecture& architecture, BatchShape shape,
                       DType dtype = DType::fp32);

/// One step of generation: takes T tokens a sequence at `positions`, puts their keys and values
/// into the caches ("cache.layers.N.k", [B, cache_length, K, D]) and gives the logits after the
/// last: result "logits" [B,V]. `visibility` bounds the cache rows each token sees.
ir::Graph decode_graph(const Architecture& architecture, BatchShape shape,
                       std::int64_t cache_length);

/// One trained tensor, and where a Hugging Face directory of the family keeps it.
struct ParameterInfo {
  std::string name;  // ours: "layers.0.attention.q.weight"
  Shape shape;       // linear weights are [out, in]
  enum class Init { normal, residual, zero, one } init = Init::normal;
  std::string hugging_face;      // name of the tensor there
  bool transposed = false;       // there as [in, out] (gpt2's Conv1D)
  std::int64_t slice_begin = 0;  // rows of the (untransposed) tensor there that are ours;
  std::int64_t slice_rows = 0;   // gpt2 keeps q, k and v in one
};
std::vector<ParameterInfo> parameters(const Architecture& architecture);

/// Fills a parameter by its rule: normal with initializer_range, "residual" divided by
/// sqrt(2 · layers) (Radford et al., 2019), zero, one. A function of (seed, name) alone.
void initialize(const Architecture& architecture, const ParameterInfo& parameter,
                std::uint64_t seed, float* values);

}  // namespace bessemer::models

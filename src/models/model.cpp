#include "models/model.h"

#include <cmath>

#include <fmt/format.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "models/blocks.h"

namespace bessemer::models {
namespace {

ir::ValueId trunk(ForwardBuilder& forward) {
  return forward.architecture().family == Family::gpt2 ? gpt2_trunk(forward) : llama_trunk(forward);
}

// FNV-1a: a stable number for a name, whatever the platform.
std::uint32_t site_of(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

ir::Graph loss_graph(const Architecture& architecture, BatchShape shape, DType dtype) {
  ForwardBuilder forward(architecture, shape, dtype, ForwardBuilder::Mode::whole);
  return forward.loss(trunk(forward));
}

ir::Graph logits_graph(const Architecture& architecture, BatchShape shape, DType dtype) {
  ForwardBuilder forward(architecture, shape, dtype, ForwardBuilder::Mode::whole);
  return forward.all_logits(trunk(forward));
}

ir::Graph decode_graph(const Architecture& architecture, BatchShape shape,
                       std::int64_t cache_length) {
  ForwardBuilder forward(architecture, shape, DType::fp32, ForwardBuilder::Mode::decode,
                         cache_length);
  return forward.last_logits(trunk(forward));
}

std::vector<ParameterInfo> parameters(const Architecture& architecture) {
  return architecture.family == Family::gpt2 ? gpt2_parameters(architecture)
                                             : llama_parameters(architecture);
}

std::int64_t parameter_count(const Architecture& architecture) {
  std::int64_t count = 0;
  for (const ParameterInfo& parameter : parameters(architecture)) {
    count += elements_of(parameter.shape);
  }
  return count;
}

double training_flops_per_token(const Architecture& a, std::int64_t sequence_length) {
  double multiplying = 0;  // weights of matrix products; embeddings only where they are the head
  for (const ParameterInfo& parameter : parameters(a)) {
    if (parameter.shape.size() < 2 || parameter.name == "position_embedding.weight") continue;
    if (parameter.name == "embedding.weight" && !a.tied_embeddings) continue;
    multiplying += static_cast<double>(elements_of(parameter.shape));
  }
  double keys = static_cast<double>(sequence_length) / 2;
  if (a.attention_window > 0) keys = std::min(keys, static_cast<double>(a.attention_window));
  const auto width = static_cast<double>(a.heads * a.head_dim);
  return 6 * multiplying + 12 * static_cast<double>(a.layers) * width * keys;
}

void initialize(const Architecture& architecture, const ParameterInfo& parameter,
                std::uint64_t seed, float* values) {
  using Init = ParameterInfo::Init;
  const std::int64_t n = elements_of(parameter.shape);
  if (parameter.init == Init::zero || parameter.init == Init::one) {
    std::fill_n(values, n, parameter.init == Init::one ? 1.0f : 0.0f);
    return;
  }
  double deviation = architecture.initializer_range;
  if (parameter.init == Init::residual) {
    deviation /= std::sqrt(2.0 * static_cast<double>(architecture.layers));
  }
  const CounterRng rng(seed, 0, site_of(parameter.name));
  parallel_for(n, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      values[i] = static_cast<float>(deviation * rng.normal(static_cast<std::uint64_t>(i)));
    }
  });
}

}  // namespace bessemer::models

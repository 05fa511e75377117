#include "models/blocks.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/rounding.h"

namespace bessemer::models {

using ir::Role;
using ir::ValueId;

namespace {

// Rows the head takes at a time: an even cut of the rows whose fp32 logits stay below 64 MiB,
// enough rows for the matrix products to run at full rate.
std::int64_t head_chunk(std::int64_t rows, std::int64_t vocabulary) {
  constexpr std::int64_t kLogits = (std::int64_t{64} << 20) / 4;
  const std::int64_t most = std::max<std::int64_t>(1, kLogits / vocabulary);
  const std::int64_t chunks = divide_up(rows, most);
  return divide_up(rows, chunks);
}

}  // namespace

ForwardBuilder::ForwardBuilder(const Architecture& architecture, BatchShape shape, DType dtype,
                               Mode mode, std::int64_t cache_length)
    : architecture_(architecture),
      shape_(shape),
      dtype_(dtype),
      mode_(mode),
      cache_length_(cache_length),
      graph_("forward"),
      builder_(graph_),
      parameters_(models::parameters(architecture)) {
  const Shape batch{shape.sequences, shape.length};
  tokens_ = graph_.add_input(Role::data, "tokens", {DType::int32, batch});
  positions_ = graph_.add_input(Role::data, "positions", {DType::int32, batch});
  visibility_ = graph_.add_input(Role::data, "visibility",
                                 {DType::int32, {shape.sequences, shape.length, 2}});
  if (mode == Mode::whole) {
    targets_ = graph_.add_input(Role::data, "targets", {DType::int32, batch});
  }
}

ValueId ForwardBuilder::parameter(const std::string& name) {
  if (const ir::Input* there = graph_.find_input(name)) return there->value;
  for (const ParameterInfo& info : parameters_) {
    if (info.name == name) return graph_.add_input(Role::parameter, name, {dtype_, info.shape});
  }
  fail("the model has no parameter {}", name);
}

ValueId ForwardBuilder::linear(ValueId x, const std::string& name, bool bias) {
  return builder_.add(
      "matmul", {x, parameter(name + ".weight"), bias ? parameter(name + ".bias") : ir::kAbsent},
      {{"transpose_b", true}});
}

ValueId ForwardBuilder::layer_norm(ValueId x, const std::string& name) {
  return builder_.add("layer_norm", {x, parameter(name + ".weight"), parameter(name + ".bias")},
                      {{"epsilon", architecture_.norm_epsilon}});
}

ValueId ForwardBuilder::rms_norm(ValueId x, const std::string& name) {
  return builder_.add("rms_norm", {x, parameter(name + ".weight")},
                      {{"epsilon", architecture_.norm_epsilon}});
}

ValueId ForwardBuilder::counter() {
  if (const ir::Input* there = graph_.find_input("counter")) return there->value;
  return graph_.add_input(Role::data, "counter", {DType::int64, {3}});
}

ValueId ForwardBuilder::dropout(ValueId x) {
  if (architecture_.dropout == 0 || mode_ == Mode::decode) return x;
  return builder_.add("dropout", {x, counter()},
                      {{"probability", architecture_.dropout}, {"site", next_site()}});
}

ValueId ForwardBuilder::heads_of(ValueId x, std::int64_t heads) {
  return builder_.reshape(x, {shape_.sequences, shape_.length, heads, architecture_.head_dim});
}

ValueId ForwardBuilder::rotate(ValueId x) {
  const config::RopeScaling& scaling = architecture_.rope_scaling;
  Attributes attributes{{"theta", architecture_.rope_theta}};
  switch (scaling.type) {
    case config::RopeScalingType::none: break;
    case config::RopeScalingType::linear:
      attributes.set("scaling", std::string("linear"));
      attributes.set("factor", scaling.factor);
      break;
    case config::RopeScalingType::llama3:
      attributes.set("scaling", std::string("llama3"));
      attributes.set("factor", scaling.factor);
      attributes.set("low_frequency_factor", scaling.low_freq_factor);
      attributes.set("high_frequency_factor", scaling.high_freq_factor);
      attributes.set("original_context", scaling.original_context.value_or(architecture_.context));
      break;
    case config::RopeScalingType::yarn:
      attributes.set("scaling", std::string("yarn"));
      attributes.set("factor", scaling.factor);
      attributes.set("beta_fast", scaling.beta_fast);
      attributes.set("beta_slow", scaling.beta_slow);
      attributes.set("original_context", scaling.original_context.value_or(architecture_.context));
      if (scaling.attention_factor) attributes.set("attention_factor", *scaling.attention_factor);
      break;
  }
  return builder_.add("rope", {x, positions_}, std::move(attributes));
}

ValueId ForwardBuilder::cached(ValueId fresh, std::int64_t layer, const char* which) {
  if (mode_ == Mode::whole) return fresh;
  const std::string name = fmt::format("cache.layers.{}.{}", layer, which);
  const ValueId cache = graph_.add_input(
      Role::cache, name,
      {dtype_, {shape_.sequences, cache_length_, architecture_.kv_heads, architecture_.head_dim}});
  const ValueId updated = builder_.add("cache_write", {cache, fresh, positions_});
  graph_.add_write(name, updated);
  return updated;
}

ValueId ForwardBuilder::attention(ValueId x, std::int64_t layer, const AttentionOptions& options) {
  const Architecture& a = architecture_;
  const std::string name = fmt::format("layers.{}.attention", layer);
  ValueId q = heads_of(linear(x, name + ".q", options.qkv_bias), a.heads);
  ValueId k = heads_of(linear(x, name + ".k", options.qkv_bias), a.kv_heads);
  const ValueId v = heads_of(linear(x, name + ".v", options.qkv_bias), a.kv_heads);
  if (options.rotary) {
    q = rotate(q);
    k = rotate(k);
  }
  const bool whole = mode_ == Mode::whole;
  Attributes attributes{{"scale", 1.0 / std::sqrt(static_cast<double>(a.head_dim))},
                        {"causal", whole}};
  // When decoding, `visibility` already bounds what a token sees, the window included.
  if (whole && a.attention_window > 0) attributes.set("window", a.attention_window);
  std::vector<ValueId> operands{q, cached(k, layer, "k"), cached(v, layer, "v"), visibility_};
  if (whole && a.dropout > 0) {
    operands.push_back(counter());
    attributes.set("dropout", a.dropout);
    attributes.set("site", next_site());
  }
  const ValueId o = builder_.add("attention", std::move(operands), std::move(attributes));
  const ValueId flat = builder_.reshape(o, {shape_.sequences, shape_.length, a.heads * a.head_dim});
  return linear(flat, name + ".o", options.output_bias);
}

ValueId ForwardBuilder::head_weight() {
  return parameter(architecture_.tied_embeddings ? "embedding.weight" : "head.weight");
}

ir::Graph ForwardBuilder::loss(ValueId x) {
  set_label("head");
  const std::int64_t rows = shape_.sequences * shape_.length;
  const ValueId flat = builder_.reshape(x, {rows, architecture_.hidden});
  const ValueId targets = builder_.reshape(targets_, {rows});
  const ValueId loss = builder_.add("linear_cross_entropy", {flat, head_weight(), targets},
                                    {{"chunk", head_chunk(rows, architecture_.vocabulary)}});
  graph_.add_result("loss", loss);
  return ir::without_dead_nodes(std::move(graph_));
}

ir::Graph ForwardBuilder::all_logits(ValueId x) {
  set_label("head");
  const ValueId logits = builder_.add("matmul", {x, head_weight()}, {{"transpose_b", true}});
  graph_.add_result("logits", logits);
  return ir::without_dead_nodes(std::move(graph_));
}

ir::Graph ForwardBuilder::last_logits(ValueId x) {
  set_label("head");
  const ValueId last =
      shape_.length == 1
          ? x
          : builder_.add(
                "slice", {x},
                {{"dim", std::int64_t{1}}, {"begin", shape_.length - 1}, {"end", shape_.length}});
  const ValueId flat = builder_.reshape(last, {shape_.sequences, architecture_.hidden});
  const ValueId logits = builder_.add("matmul", {flat, head_weight()}, {{"transpose_b", true}});
  graph_.add_result("logits", logits);
  return ir::without_dead_nodes(std::move(graph_));
}

}  // namespace bessemer::models

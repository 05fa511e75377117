// Llama: Touvron et al., "LLaMA", 2023, and its kin: RMSNorm, rotary positions, grouped queries,
// SwiGLU; with biases as Qwen2 has them.
#include <fmt/format.h>

#include "models/blocks.h"

namespace bessemer::models {

using ir::ValueId;

ValueId llama_trunk(ForwardBuilder& forward) {
  const Architecture& a = forward.architecture();
  ops::Builder& b = forward.builder();
  forward.set_label("embedding");
  ValueId h = forward.dropout(
      b.add("embedding", {forward.parameter("embedding.weight"), forward.tokens()}));
  for (std::int64_t layer = 0; layer < a.layers; ++layer) {
    const std::string name = fmt::format("layers.{}", layer);
    forward.set_label(name + ".attention");
    const ValueId attended =
        forward.attention(forward.rms_norm(h, name + ".norm1"), layer,
                          {.rotary = true, .qkv_bias = a.qkv_bias, .output_bias = a.output_bias});
    h = b.add("add", {h, forward.dropout(attended)});
    forward.set_label(name + ".mlp");
    const ValueId x = forward.rms_norm(h, name + ".norm2");
    const ValueId gate = forward.linear(x, name + ".mlp.gate", a.mlp_bias);
    const ValueId up = forward.linear(x, name + ".mlp.up", a.mlp_bias);
    const ValueId down =
        forward.linear(b.add("swiglu", {gate, up}), name + ".mlp.down", a.mlp_bias);
    h = b.add("add", {h, forward.dropout(down)});
  }
  forward.set_label("norm");
  return forward.rms_norm(h, "norm");
}

std::vector<ParameterInfo> llama_parameters(const Architecture& a) {
  using Init = ParameterInfo::Init;
  std::vector<ParameterInfo> all;
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, Init init,
                          const std::string& there, bool bias) {
    all.push_back({name + ".weight", {out, in}, init, there + ".weight", false, 0, out});
    if (bias) all.push_back({name + ".bias", {out}, Init::zero, there + ".bias", false, 0, out});
  };
  const auto norm = [&](const std::string& name, const std::string& there) {
    all.push_back({name + ".weight", {a.hidden}, Init::one, there + ".weight", false, 0, a.hidden});
  };
  all.push_back({"embedding.weight",
                 {a.vocabulary, a.hidden},
                 Init::normal,
                 "model.embed_tokens.weight",
                 false,
                 0,
                 a.vocabulary});
  const std::int64_t q = a.heads * a.head_dim, kv = a.kv_heads * a.head_dim;
  for (std::int64_t layer = 0; layer < a.layers; ++layer) {
    const std::string name = fmt::format("layers.{}", layer);
    const std::string there = fmt::format("model.layers.{}", layer);
    norm(name + ".norm1", there + ".input_layernorm");
    const std::string self = there + ".self_attn";
    linear(name + ".attention.q", q, a.hidden, Init::normal, self + ".q_proj", a.qkv_bias);
    linear(name + ".attention.k", kv, a.hidden, Init::normal, self + ".k_proj", a.qkv_bias);
    linear(name + ".attention.v", kv, a.hidden, Init::normal, self + ".v_proj", a.qkv_bias);
    linear(name + ".attention.o", a.hidden, q, Init::residual, self + ".o_proj", a.output_bias);
    norm(name + ".norm2", there + ".post_attention_layernorm");
    linear(name + ".mlp.gate", a.ffn, a.hidden, Init::normal, there + ".mlp.gate_proj", a.mlp_bias);
    linear(name + ".mlp.up", a.ffn, a.hidden, Init::normal, there + ".mlp.up_proj", a.mlp_bias);
    linear(name + ".mlp.down", a.hidden, a.ffn, Init::residual, there + ".mlp.down_proj",
           a.mlp_bias);
  }
  norm("norm", "model.norm");
  if (!a.tied_embeddings) {
    all.push_back({"head.weight",
                   {a.vocabulary, a.hidden},
                   Init::normal,
                   "lm_head.weight",
                   false,
                   0,
                   a.vocabulary});
  }
  return all;
}

}  // namespace bessemer::models

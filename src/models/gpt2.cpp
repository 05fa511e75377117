// GPT-2: Radford et al., "Language models are unsupervised multitask learners", 2019.
#include <fmt/format.h>

#include "models/blocks.h"

namespace bessemer::models {

using ir::ValueId;

ValueId gpt2_trunk(ForwardBuilder& forward) {
  const Architecture& a = forward.architecture();
  ops::Builder& b = forward.builder();
  forward.set_label("embedding");
  const ValueId words =
      b.add("embedding", {forward.parameter("embedding.weight"), forward.tokens()});
  const ValueId places =
      b.add("embedding", {forward.parameter("position_embedding.weight"), forward.positions()});
  ValueId h = forward.dropout(b.add("add", {words, places}));
  for (std::int64_t layer = 0; layer < a.layers; ++layer) {
    const std::string name = fmt::format("layers.{}", layer);
    forward.set_label(name + ".attention");
    const ValueId attended = forward.attention(forward.layer_norm(h, name + ".norm1"), layer,
                                               {.qkv_bias = true, .output_bias = true});
    h = b.add("add", {h, forward.dropout(attended)});
    forward.set_label(name + ".mlp");
    const ValueId up =
        forward.linear(forward.layer_norm(h, name + ".norm2"), name + ".mlp.up", true);
    const ValueId activated =
        b.add("gelu", {up}, {{"approximate", std::string(a.gelu_tanh ? "tanh" : "none")}});
    h = b.add("add", {h, forward.dropout(forward.linear(activated, name + ".mlp.down", true))});
  }
  forward.set_label("norm");
  return forward.layer_norm(h, "norm");
}

std::vector<ParameterInfo> gpt2_parameters(const Architecture& a) {
  using Init = ParameterInfo::Init;
  std::vector<ParameterInfo> all;
  // Conv1D keeps [in, out]; `begin` is where our rows start among its outputs.
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, Init init,
                          const std::string& there, std::int64_t begin = 0) {
    all.push_back({name + ".weight", {out, in}, init, there + ".weight", true, begin, out});
    all.push_back({name + ".bias", {out}, Init::zero, there + ".bias", false, begin, out});
  };
  const auto norm = [&](const std::string& name, const std::string& there) {
    all.push_back({name + ".weight", {a.hidden}, Init::one, there + ".weight", false, 0, a.hidden});
    all.push_back({name + ".bias", {a.hidden}, Init::zero, there + ".bias", false, 0, a.hidden});
  };
  all.push_back({"embedding.weight",
                 {a.vocabulary, a.hidden},
                 Init::normal,
                 "transformer.wte.weight",
                 false,
                 0,
                 a.vocabulary});
  all.push_back({"position_embedding.weight",
                 {a.context, a.hidden},
                 Init::normal,
                 "transformer.wpe.weight",
                 false,
                 0,
                 a.context});
  const std::int64_t width = a.heads * a.head_dim;
  for (std::int64_t layer = 0; layer < a.layers; ++layer) {
    const std::string name = fmt::format("layers.{}", layer);
    const std::string there = fmt::format("transformer.h.{}", layer);
    norm(name + ".norm1", there + ".ln_1");
    linear(name + ".attention.q", width, a.hidden, Init::normal, there + ".attn.c_attn", 0);
    linear(name + ".attention.k", width, a.hidden, Init::normal, there + ".attn.c_attn", width);
    linear(name + ".attention.v", width, a.hidden, Init::normal, there + ".attn.c_attn", 2 * width);
    linear(name + ".attention.o", a.hidden, width, Init::residual, there + ".attn.c_proj");
    norm(name + ".norm2", there + ".ln_2");
    linear(name + ".mlp.up", a.ffn, a.hidden, Init::normal, there + ".mlp.c_fc");
    linear(name + ".mlp.down", a.hidden, a.ffn, Init::residual, there + ".mlp.c_proj");
  }
  norm("norm", "transformer.ln_f");
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

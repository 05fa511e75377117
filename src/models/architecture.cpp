#include "models/architecture.h"

#include "base/error.h"

namespace bessemer::models {
namespace {

// Sizes a run file must name when nothing else does.
std::int64_t needed(const std::optional<std::int64_t>& value, const char* key) {
  require_input(
      value.has_value(),
      "model.{} is missing; give it, or a Hugging Face file by model.config or model.from", key);
  return *value;
}

Architecture from_keys(const config::ModelConfig& model, std::int64_t vocabulary,
                       std::int64_t sequence_length) {
  require_input(model.architecture.has_value(),
                "model.architecture is missing; expected \"gpt2\" or \"llama\"");
  Architecture a;
  a.family = *model.architecture;
  const bool gpt2 = a.family == Family::gpt2;
  a.layers = needed(model.layers, "layers");
  a.hidden = needed(model.hidden, "hidden");
  a.heads = needed(model.heads, "heads");
  a.kv_heads = model.kv_heads.value_or(a.heads);
  a.head_dim = model.head_dim.value_or(a.hidden / a.heads);
  const std::int64_t two_thirds = (8 * a.hidden / 3 + 63) / 64 * 64;
  a.ffn = model.ffn.value_or(gpt2 ? 4 * a.hidden : two_thirds);
  a.context = sequence_length;
  a.vocabulary = vocabulary;
  a.tied_embeddings = gpt2;
  a.qkv_bias = a.output_bias = a.mlp_bias = gpt2;
  return a;
}

void check(const Architecture& a) {
  require_input(a.heads % a.kv_heads == 0, "model.heads {} is not a multiple of model.kv_heads {}",
                a.heads, a.kv_heads);
  require_input(a.head_dim > 0, "model.hidden {} is less than model.heads {}", a.hidden, a.heads);
  require_input(a.head_dim % 2 == 0 || a.family == Family::gpt2,
                "model.head_dim {} must be even: rotary positions turn pairs", a.head_dim);
  if (a.family == Family::gpt2) {
    require_input(a.kv_heads == a.heads, "model.kv_heads: gpt2 has no grouped queries");
    require_input(a.head_dim * a.heads == a.hidden,
                  "model.hidden {} is not model.heads {} times model.head_dim {}", a.hidden,
                  a.heads, a.head_dim);
  }
}

}  // namespace

Architecture resolve(const config::ModelConfig& model, std::int64_t vocabulary,
                     std::int64_t sequence_length) {
  Architecture a;
  if (model.from) {
    a = read_hugging_face_config(*model.from / "config.json");
  } else if (model.config) {
    a = read_hugging_face_config(*model.config);
  } else {
    a = from_keys(model, vocabulary, sequence_length);
  }
  const auto set = [](auto& field, const auto& key) {
    if (key) field = *key;
  };
  set(a.layers, model.layers);
  set(a.hidden, model.hidden);
  set(a.heads, model.heads);
  set(a.kv_heads, model.kv_heads);
  set(a.head_dim, model.head_dim);
  set(a.ffn, model.ffn);
  set(a.context, model.context);
  set(a.vocabulary, model.vocabulary);
  set(a.rope_theta, model.rope_theta);
  set(a.rope_scaling, model.rope_scaling);
  set(a.tied_embeddings, model.tied_embeddings);
  set(a.norm_epsilon, model.norm_epsilon);
  set(a.qkv_bias, model.qkv_bias);
  set(a.attention_window, model.attention_window);
  set(a.initializer_range, model.initializer_range);
  set(a.dropout, model.dropout);
  check(a);
  require_input(a.vocabulary >= vocabulary,
                "model.vocabulary {} is smaller than the tokenizer's {}; raise it or train a "
                "smaller tokenizer (data.vocabulary)",
                a.vocabulary, vocabulary);
  require_input(sequence_length <= a.context || a.family != Family::gpt2,
                "data.sequence_length {} is longer than the model's context {}", sequence_length,
                a.context);
  return a;
}

}  // namespace bessemer::models

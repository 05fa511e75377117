// config.json of transformers <-> Architecture.
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "models/architecture.h"

namespace bessemer::models {
namespace {

using Json = nlohmann::json;
using config::RopeScalingType;

// One JSON object with errors that name the file and the key. A null counts as absent, as it does
// for transformers.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    require_input(json.is_object(), "{}: expected a JSON object", where_);
  }

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }

  std::int64_t size(const char* key, std::optional<std::int64_t> fallback = {}) const {
    if (!has(key)) return absent(key, fallback, "a positive integer");
    const Json& value = json_[key];
    constexpr std::int64_t kMost = std::int64_t{1} << 31;
    const bool good = value.is_number_integer() && value.get<double>() >= 1 &&
                      value.get<double>() <= static_cast<double>(kMost);
    require_input(good, "{}: '{}' is {}, expected an integer from 1 to 2^31", where_, key,
                  value.dump());
    return value.get<std::int64_t>();
  }

  double real(const char* key, std::optional<double> fallback = {}) const {
    if (!has(key)) return absent(key, fallback, "a number");
    const Json& value = json_[key];
    require_input(value.is_number() && std::isfinite(value.get<double>()),
                  "{}: '{}' is {}, expected a number", where_, key, value.dump());
    return value.get<double>();
  }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    require_input(json_[key].is_boolean(), "{}: '{}' is {}, expected true or false", where_, key,
                  json_[key].dump());
    return json_[key].get<bool>();
  }

  std::string text(const char* key, std::optional<std::string> fallback = {}) const {
    if (!has(key)) return absent(key, fallback, "a text");
    require_input(json_[key].is_string(), "{}: '{}' is {}, expected a text", where_, key,
                  json_[key].dump());
    return json_[key].get<std::string>();
  }

  Object object(const char* key) const {
    return {json_[key], fmt::format("{}: '{}'", where_, key)};
  }
  const std::string& where() const { return where_; }

 private:
  template <typename T>
  T absent(const char* key, const std::optional<T>& fallback, const char* kind) const {
    require_input(fallback.has_value(), "{}: '{}' is missing, expected {}", where_, key, kind);
    return *fallback;
  }

  const Json& json_;
  std::string where_;
};

Architecture read_gpt2(const Object& o) {
  Architecture a;
  a.family = Family::gpt2;
  a.layers = o.size("n_layer");
  a.hidden = o.size("n_embd");
  a.heads = a.kv_heads = o.size("n_head");
  require_input(a.hidden % a.heads == 0, "{}: n_embd {} is not a multiple of n_head {}", o.where(),
                a.hidden, a.heads);
  a.head_dim = a.hidden / a.heads;
  a.ffn = o.size("n_inner", 4 * a.hidden);
  a.context = o.size("n_positions", 1024);
  a.vocabulary = o.size("vocab_size");
  a.tied_embeddings = o.boolean("tie_word_embeddings", true);
  a.norm_epsilon = o.real("layer_norm_epsilon", 1e-5);
  a.qkv_bias = a.output_bias = a.mlp_bias = true;
  a.initializer_range = o.real("initializer_range", 0.02);
  const std::string activation = o.text("activation_function", "gelu_new");
  const bool exact = activation == "gelu";
  require_input(exact || activation == "gelu_new" || activation == "gelu_pytorch_tanh",
                "{}: activation_function '{}' is not supported; expected gelu_new or gelu",
                o.where(), activation);
  a.gelu_tanh = !exact;
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"}) {
    require_input(!o.boolean(key, false), "{}: '{}' is not supported", o.where(), key);
  }
  return a;
}

config::RopeScaling read_rope_scaling(const Object& o) {
  config::RopeScaling scaling;
  const std::string type = o.text("rope_type", o.text("type", "default"));
  if (type == "default") return scaling;
  if (type == "linear") {
    scaling.type = RopeScalingType::linear;
  } else if (type == "llama3") {
    scaling.type = RopeScalingType::llama3;
    scaling.low_freq_factor = o.real("low_freq_factor");
    scaling.high_freq_factor = o.real("high_freq_factor");
  } else if (type == "yarn") {
    scaling.type = RopeScalingType::yarn;
    scaling.beta_fast = o.real("beta_fast", 32.0);
    scaling.beta_slow = o.real("beta_slow", 1.0);
    if (o.has("attention_factor")) scaling.attention_factor = o.real("attention_factor");
  } else {
    fail_input("{}: rope_type '{}' is not supported; expected default, linear, llama3 or yarn",
               o.where(), type);
  }
  scaling.factor = o.real("factor");
  if (o.has("original_max_position_embeddings")) {
    scaling.original_context = o.size("original_max_position_embeddings");
  }
  return scaling;
}

void read_rope(const Object& o, Architecture& a) {
  // transformers 5 keeps theta and scaling in rope_parameters, earlier ones at the top level.
  if (o.has("rope_parameters")) {
    const Object rope = o.object("rope_parameters");
    a.rope_theta = rope.real("rope_theta", o.real("rope_theta", 10000.0));
    a.rope_scaling = read_rope_scaling(rope);
    return;
  }
  a.rope_theta = o.real("rope_theta", 10000.0);
  if (o.has("rope_scaling")) a.rope_scaling = read_rope_scaling(o.object("rope_scaling"));
}

Architecture read_llama(const Object& o, const std::string& type) {
  Architecture a;
  a.family = Family::llama;
  a.layers = o.size("num_hidden_layers");
  a.hidden = o.size("hidden_size");
  a.heads = o.size("num_attention_heads");
  a.kv_heads = o.size("num_key_value_heads", a.heads);
  require_input(a.heads % a.kv_heads == 0,
                "{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", o.where(),
                a.heads, a.kv_heads);
  require_input(o.has("head_dim") || a.hidden % a.heads == 0,
                "{}: hidden_size {} is not a multiple of num_attention_heads {}", o.where(),
                a.hidden, a.heads);
  a.head_dim = o.size("head_dim", std::max<std::int64_t>(1, a.hidden / a.heads));
  a.ffn = o.size("intermediate_size");
  a.context = o.size("max_position_embeddings", 2048);
  a.vocabulary = o.size("vocab_size");
  a.tied_embeddings = o.boolean("tie_word_embeddings", false);
  a.norm_epsilon = o.real("rms_norm_eps", 1e-6);
  a.initializer_range = o.real("initializer_range", 0.02);
  const std::string activation = o.text("hidden_act", "silu");
  require_input(activation == "silu", "{}: hidden_act '{}' is not supported; expected silu",
                o.where(), activation);
  if (type == "qwen2") {
    a.qkv_bias = true;
  } else {
    a.qkv_bias = a.output_bias = o.boolean("attention_bias", false);
    a.mlp_bias = o.boolean("mlp_bias", false);
  }
  const bool windowed = type == "mistral" || o.boolean("use_sliding_window", false);
  if (windowed && o.has("sliding_window")) a.attention_window = o.size("sliding_window");
  read_rope(o, a);
  return a;
}

Json rope_json(const Architecture& a) {
  const config::RopeScaling& s = a.rope_scaling;
  Json json{{"factor", s.factor}};
  switch (s.type) {
    case RopeScalingType::none: return nullptr;
    case RopeScalingType::linear: json["rope_type"] = "linear"; break;
    case RopeScalingType::llama3:
      json["rope_type"] = "llama3";
      json["low_freq_factor"] = s.low_freq_factor;
      json["high_freq_factor"] = s.high_freq_factor;
      break;
    case RopeScalingType::yarn:
      json["rope_type"] = "yarn";
      json["beta_fast"] = s.beta_fast;
      json["beta_slow"] = s.beta_slow;
      if (s.attention_factor) json["attention_factor"] = *s.attention_factor;
      break;
  }
  if (s.original_context) json["original_max_position_embeddings"] = *s.original_context;
  return json;
}

Json gpt2_json(const Architecture& a) {
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"n_layer", a.layers},
          {"n_embd", a.hidden},
          {"n_head", a.heads},
          {"n_inner", a.ffn},
          {"n_positions", a.context},
          {"vocab_size", a.vocabulary},
          {"tie_word_embeddings", a.tied_embeddings},
          {"layer_norm_epsilon", a.norm_epsilon},
          {"activation_function", a.gelu_tanh ? "gelu_new" : "gelu"},
          {"initializer_range", a.initializer_range},
          {"embd_pdrop", a.dropout},
          {"resid_pdrop", a.dropout},
          {"attn_pdrop", a.dropout}};
}

Json llama_json(const Architecture& a) {
  const bool qwen2 = a.qkv_bias && !a.output_bias;
  const bool mistral = !qwen2 && a.attention_window > 0;
  Json json{{"model_type", qwen2     ? "qwen2"
                           : mistral ? "mistral"
                                     : "llama"},
            {"architectures",
             {qwen2     ? "Qwen2ForCausalLM"
              : mistral ? "MistralForCausalLM"
                        : "LlamaForCausalLM"}},
            {"num_hidden_layers", a.layers},
            {"hidden_size", a.hidden},
            {"num_attention_heads", a.heads},
            {"num_key_value_heads", a.kv_heads},
            {"head_dim", a.head_dim},
            {"intermediate_size", a.ffn},
            {"max_position_embeddings", a.context},
            {"vocab_size", a.vocabulary},
            {"tie_word_embeddings", a.tied_embeddings},
            {"rms_norm_eps", a.norm_epsilon},
            {"hidden_act", "silu"},
            {"initializer_range", a.initializer_range},
            {"rope_theta", a.rope_theta}};
  if (!qwen2) {
    json["attention_bias"] = a.qkv_bias;
    json["mlp_bias"] = a.mlp_bias;
  }
  if (a.attention_window > 0) {
    json["sliding_window"] = a.attention_window;
    if (qwen2) {
      json["use_sliding_window"] = true;
      json["max_window_layers"] = 0;
    }
  }
  if (a.rope_scaling.type != RopeScalingType::none) json["rope_scaling"] = rope_json(a);
  return json;
}

}  // namespace

Architecture parse_hugging_face_config(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, false);
  require_input(!json.is_discarded(), "{}: not valid JSON", where);
  const Object object(json, where);
  const std::string type = object.text("model_type");
  if (type == "gpt2") return read_gpt2(object);
  if (type == "llama" || type == "mistral" || type == "qwen2") return read_llama(object, type);
  fail_input("{}: model_type '{}' is not supported; expected gpt2, llama, mistral or qwen2", where,
             type);
}

Architecture read_hugging_face_config(const std::filesystem::path& path) {
  return parse_hugging_face_config(read_file(path), path.string());
}

std::string hugging_face_config(const Architecture& a) {
  Json json = a.family == Family::gpt2 ? gpt2_json(a) : llama_json(a);
  json["torch_dtype"] = "float32";
  return json.dump(2) + "\n";
}

}  // namespace bessemer::models

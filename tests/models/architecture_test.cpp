#include "models/architecture.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/parse.h"

namespace bessemer::models {
namespace {

template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

config::ModelConfig llama_keys() {
  config::ModelConfig keys;
  keys.architecture = Family::llama;
  keys.layers = 2;
  keys.hidden = 96;
  keys.heads = 4;
  return keys;
}

TEST(Resolve, FillsInWhatAFamilyHas) {
  const Architecture llama = resolve(llama_keys(), 500, 64);
  EXPECT_EQ(llama.kv_heads, 4);
  EXPECT_EQ(llama.head_dim, 24);
  EXPECT_EQ(llama.ffn, 256);  // 8/3 of 96, up to a multiple of 64
  EXPECT_EQ(llama.context, 64);
  EXPECT_EQ(llama.vocabulary, 500);
  EXPECT_FALSE(llama.tied_embeddings || llama.qkv_bias || llama.output_bias || llama.mlp_bias);
  EXPECT_EQ(llama.dropout, 0);

  config::ModelConfig keys = llama_keys();
  keys.architecture = Family::gpt2;
  const Architecture gpt2 = resolve(keys, 500, 64);
  EXPECT_EQ(gpt2.ffn, 384);
  EXPECT_TRUE(gpt2.tied_embeddings && gpt2.qkv_bias && gpt2.output_bias && gpt2.mlp_bias);
  EXPECT_TRUE(gpt2.gelu_tanh);
}

TEST(Resolve, KeysWin) {
  config::ModelConfig keys = llama_keys();
  keys.kv_heads = 2;
  keys.head_dim = 16;
  keys.ffn = 100;
  keys.context = 2048;
  keys.vocabulary = 512;
  keys.rope_theta = 5e5;
  keys.tied_embeddings = true;
  keys.norm_epsilon = 1e-6;
  keys.qkv_bias = true;
  keys.attention_window = 32;
  keys.initializer_range = 0.01;
  keys.dropout = 0.1;
  keys.rope_scaling = config::RopeScaling{.type = config::RopeScalingType::linear, .factor = 2};
  const Architecture a = resolve(keys, 500, 64);
  const Architecture expected{.family = Family::llama,
                              .layers = 2,
                              .hidden = 96,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .ffn = 100,
                              .context = 2048,
                              .vocabulary = 512,
                              .tied_embeddings = true,
                              .norm_epsilon = 1e-6,
                              .qkv_bias = true,
                              .attention_window = 32,
                              .rope_theta = 5e5,
                              .rope_scaling = *keys.rope_scaling,
                              .initializer_range = 0.01,
                              .dropout = 0.1};
  EXPECT_EQ(a, expected);
}

struct ErrorCase {
  const char* name;
  void (*change)(config::ModelConfig& keys);
  const char* message;
};

class ResolveErrors : public ::testing::TestWithParam<ErrorCase> {};

TEST_P(ResolveErrors, NameTheKey) {
  config::ModelConfig keys = llama_keys();
  GetParam().change(keys);
  const std::string message = message_of([&] { resolve(keys, 500, 64); });
  EXPECT_NE(message.find(GetParam().message), std::string::npos) << message;
}

using Keys = config::ModelConfig;
INSTANTIATE_TEST_SUITE_P(
    All, ResolveErrors,
    ::testing::Values(
        ErrorCase{"no_architecture", [](Keys& k) { k.architecture.reset(); },
                  "model.architecture is missing; expected \"gpt2\" or \"llama\""},
        ErrorCase{"no_layers", [](Keys& k) { k.layers.reset(); }, "model.layers is missing"},
        ErrorCase{"no_hidden", [](Keys& k) { k.hidden.reset(); }, "model.hidden is missing"},
        ErrorCase{"no_heads", [](Keys& k) { k.heads.reset(); }, "model.heads is missing"},
        ErrorCase{"kv_heads", [](Keys& k) { k.kv_heads = 3; },
                  "model.heads 4 is not a multiple of model.kv_heads 3"},
        ErrorCase{"more_heads_than_hidden", [](Keys& k) { k.hidden = 2; },
                  "model.hidden 2 is less than model.heads 4"},
        ErrorCase{"odd_head", [](Keys& k) { k.head_dim = 7; }, "model.head_dim 7 must be even"},
        ErrorCase{"gpt2_with_grouped_queries",
                  [](Keys& k) {
                    k.architecture = Family::gpt2;
                    k.kv_heads = 2;
                  },
                  "gpt2 has no grouped queries"},
        ErrorCase{"gpt2_whose_heads_do_not_fill_it",
                  [](Keys& k) {
                    k.architecture = Family::gpt2;
                    k.head_dim = 16;
                  },
                  "model.hidden 96 is not model.heads 4 times model.head_dim 16"},
        ErrorCase{"vocabulary", [](Keys& k) { k.vocabulary = 499; },
                  "model.vocabulary 499 is smaller than the tokenizer's 500"},
        ErrorCase{"gpt2_context",
                  [](Keys& k) {
                    k.architecture = Family::gpt2;
                    k.context = 32;
                  },
                  "data.sequence_length 64 is longer than the model's context 32"},
        ErrorCase{"no_file", [](Keys& k) { k.config = "/no/config.json"; }, "/no/config.json"},
        ErrorCase{"no_directory", [](Keys& k) { k.from = "/no"; }, "/no/config.json"}),
    [](const auto& test) { return test.param.name; });

// config.json -> Architecture -> config.json.
TEST(HuggingFaceConfig, RoundTrips) {
  Architecture gpt2 = resolve(
      [] {
        Keys keys = llama_keys();
        keys.architecture = Family::gpt2;
        return keys;
      }(),
      500, 64);
  gpt2.norm_epsilon = 1e-6;
  gpt2.gelu_tanh = false;
  gpt2.initializer_range = 0.03;
  const Architecture llama = resolve(llama_keys(), 500, 64);
  std::vector<Architecture> all{gpt2, llama};
  const auto add = [&](auto change) {
    all.push_back(llama);
    change(all.back());
  };
  add([](Architecture& a) { a.kv_heads = 2; });
  add([](Architecture& a) { a.head_dim = 32; });
  add([](Architecture& a) { a.tied_embeddings = true; });
  add([](Architecture& a) { a.qkv_bias = a.output_bias = a.mlp_bias = true; });
  add([](Architecture& a) { a.qkv_bias = true; });  // Qwen2
  add([](Architecture& a) {
    a.qkv_bias = true;
    a.attention_window = 16;
  });
  add([](Architecture& a) { a.attention_window = 16; });  // Mistral
  add([](Architecture& a) { a.rope_theta = 5e5; });
  using Type = config::RopeScalingType;
  add([](Architecture& a) { a.rope_scaling = {.type = Type::linear, .factor = 4}; });
  add([](Architecture& a) {
    a.rope_scaling = {.type = Type::llama3,
                      .factor = 8,
                      .original_context = 32,
                      .low_freq_factor = 1.5,
                      .high_freq_factor = 3};
  });
  add([](Architecture& a) {
    a.rope_scaling = {.type = Type::yarn,
                      .factor = 4,
                      .original_context = 32,
                      .beta_fast = 16,
                      .beta_slow = 2,
                      .attention_factor = 1.25};
  });
  for (const Architecture& a : all) {
    const std::string text = hugging_face_config(a);
    EXPECT_EQ(parse_hugging_face_config(text, "test"), a) << text;
  }
}

const char* const kLlama = R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
 "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100 MORE})";

struct ConfigErrorCase {
  const char* name;
  std::string text;
  const char* message;
};

std::string llama_with(const std::string& more) {
  std::string text = kLlama;
  return text.replace(text.find(" MORE"), 5, more);
}

std::string llama_without(const std::string& key) {
  std::string text = llama_with("");
  return text.replace(text.find(key), key.size(), "other");
}

class ConfigErrors : public ::testing::TestWithParam<ConfigErrorCase> {};

TEST_P(ConfigErrors, NameFileAndKey) {
  const std::string message =
      message_of([] { parse_hugging_face_config(GetParam().text, "dir/config.json"); });
  EXPECT_EQ(message, std::string("dir/config.json") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigErrors,
    ::testing::Values(
        ConfigErrorCase{"empty", "", ": not valid JSON"},
        ConfigErrorCase{"cut", "{\"model_type\": \"gpt2\"", ": not valid JSON"},
        ConfigErrorCase{"no_object", "[1]", ": expected a JSON object"},
        ConfigErrorCase{"no_type", "{}", ": 'model_type' is missing, expected a text"},
        ConfigErrorCase{"other_type", R"({"model_type": "mamba"})",
                        ": model_type 'mamba' is not supported; expected gpt2, llama, mistral or "
                        "qwen2"},
        ConfigErrorCase{"missing", llama_without("hidden_size"),
                        ": 'hidden_size' is missing, expected a positive integer"},
        ConfigErrorCase{"null_is_missing", llama_with(R"(, "hidden_size": null)"),
                        ": 'hidden_size' is missing, expected a positive integer"},
        ConfigErrorCase{"text_for_a_size", llama_with(R"(, "num_key_value_heads": "4")"),
                        ": 'num_key_value_heads' is \"4\", expected an integer from 1 to 2^31"},
        ConfigErrorCase{"real_for_a_size", llama_with(R"(, "head_dim": 4.5)"),
                        ": 'head_dim' is 4.5, expected an integer from 1 to 2^31"},
        ConfigErrorCase{"zero_for_a_size", llama_with(R"(, "head_dim": 0)"),
                        ": 'head_dim' is 0, expected an integer from 1 to 2^31"},
        ConfigErrorCase{"huge_size", llama_with(R"(, "head_dim": 99999999999)"),
                        ": 'head_dim' is 99999999999, expected an integer from 1 to 2^31"},
        ConfigErrorCase{"number_for_a_switch", llama_with(R"(, "attention_bias": 1)"),
                        ": 'attention_bias' is 1, expected true or false"},
        ConfigErrorCase{"text_for_a_number", llama_with(R"(, "rms_norm_eps": "1e-5")"),
                        ": 'rms_norm_eps' is \"1e-5\", expected a number"},
        ConfigErrorCase{"grouping", llama_with(R"(, "num_key_value_heads": 3)"),
                        ": num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
        ConfigErrorCase{"activation", llama_with(R"(, "hidden_act": "relu")"),
                        ": hidden_act 'relu' is not supported; expected silu"},
        ConfigErrorCase{"rope", llama_with(R"(, "rope_scaling": {"rope_type": "dynamic"})"),
                        ": 'rope_scaling': rope_type 'dynamic' is not supported; expected default, "
                        "linear, llama3 or yarn"},
        ConfigErrorCase{"rope_without_factor",
                        llama_with(R"(, "rope_scaling": {"type": "linear"})"),
                        ": 'rope_scaling': 'factor' is missing, expected a number"},
        ConfigErrorCase{"rope_is_no_object", llama_with(R"(, "rope_scaling": 4)"),
                        ": 'rope_scaling': expected a JSON object"},
        ConfigErrorCase{"gpt2_heads",
                        R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 10, "n_head": 3,
                            "vocab_size": 9})",
                        ": n_embd 10 is not a multiple of n_head 3"},
        ConfigErrorCase{"gpt2_activation",
                        R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 12, "n_head": 3,
                            "vocab_size": 9, "activation_function": "relu"})",
                        ": activation_function 'relu' is not supported; expected gelu_new or gelu"},
        ConfigErrorCase{"gpt2_variant",
                        R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 12, "n_head": 3,
                            "vocab_size": 9, "scale_attn_by_inverse_layer_idx": true})",
                        ": 'scale_attn_by_inverse_layer_idx' is not supported"}),
    [](const auto& test) { return test.param.name; });

TEST(HuggingFaceConfig, HasTheLibrarysDefaults) {
  const Architecture a = parse_hugging_face_config(llama_with(""), "test");
  EXPECT_EQ(a.kv_heads, 4);
  EXPECT_EQ(a.head_dim, 16);
  EXPECT_EQ(a.context, 2048);
  EXPECT_EQ(a.norm_epsilon, 1e-6);
  EXPECT_EQ(a.rope_theta, 10000);
  EXPECT_FALSE(a.tied_embeddings);
}

}  // namespace
}  // namespace bessemer::models

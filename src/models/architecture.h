// A model's architecture, fully resolved: every size and switch its family has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "config/run_config.h"

namespace bessemer::models {

using Family = config::Architecture;

struct Architecture {
  Family family = Family::llama;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // divides heads
  std::int64_t head_dim = 0;
  std::int64_t ffn = 0;
  std::int64_t context = 0;      // longest sequence; rows of gpt2's position table
  std::int64_t vocabulary = 0;   // rows of the embedding
  bool tied_embeddings = false;  // the head is the embedding
  double norm_epsilon = 1e-5;
  bool qkv_bias = false;              // llama family: biases of the q, k and v projections (Qwen2)
  bool output_bias = false;           // llama family: of the attention's output projection
  bool mlp_bias = false;              // llama family
  bool gelu_tanh = true;              // gpt2: the tanh form of gelu
  std::int64_t attention_window = 0;  // 0: a query sees all keys before it
  double rope_theta = 10000;          // llama
  config::RopeScaling rope_scaling;   // llama
  double initializer_range = 0.02;
  double dropout = 0;

  bool operator==(const Architecture&) const = default;
};

/// From the run file's [model]: its own keys, or those of the config.json it names (or of the one
/// in the directory `from`) with its own keys on top. `vocabulary` is what the tokenizer needs,
/// `sequence_length` the default of `context`. InputError where something is missing or does not
/// fit together.
Architecture resolve(const config::ModelConfig& model, std::int64_t vocabulary,
                     std::int64_t sequence_length);

/// Reads a Hugging Face config.json of model_type gpt2, llama, mistral or qwen2. InputError naming
/// the file and the key for anything missing, of another type or not supported. `dropout` is 0:
/// the file's values belong to the run that made it.
Architecture read_hugging_face_config(const std::filesystem::path& path);
Architecture parse_hugging_face_config(std::string_view text, const std::string& where);

/// The config.json of this architecture, as transformers reads it.
std::string hugging_face_config(const Architecture& architecture);

/// Trained scalars; a tied head counts once.
std::int64_t parameter_count(const Architecture& architecture);

/// Flops of one token's training step (forward and backward): 6 for each weight that multiplies,
/// plus attention, 12 · layers · heads · head_dim · keys seen on average (Chowdhery et al., "PaLM",
/// 2022, appendix B; causal attention sees half of the sequence). The base of MFU.
double training_flops_per_token(const Architecture& architecture, std::int64_t sequence_length);

}  // namespace bessemer::models

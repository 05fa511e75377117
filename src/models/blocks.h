// What the families share: the pieces of a transformer as graph expressions.
#pragma once

#include <string>

#include "models/model.h"

namespace bessemer::models {

/// Builds one forward graph. Knows the inputs of a batch and, for generation, the caches.
class ForwardBuilder {
 public:
  enum class Mode { whole, decode };  // whole sequences, or new tokens against caches

  ForwardBuilder(const Architecture& architecture, BatchShape shape, DType dtype, Mode mode,
                 std::int64_t cache_length = 0);

  const Architecture& architecture() const { return architecture_; }
  ops::Builder& builder() { return builder_; }
  ir::ValueId tokens() const { return tokens_; }
  ir::ValueId positions() const { return positions_; }

  /// The parameter named `name`, added as an input at first use.
  ir::ValueId parameter(const std::string& name);

  /// x·Wᵀ + b with W = NAME.weight [out, in] and, where `bias`, b = NAME.bias.
  ir::ValueId linear(ir::ValueId x, const std::string& name, bool bias);

  ir::ValueId layer_norm(ir::ValueId x, const std::string& name);
  ir::ValueId rms_norm(ir::ValueId x, const std::string& name);

  /// Dropout with the architecture's probability; the identity where that is 0 or when decoding.
  ir::ValueId dropout(ir::ValueId x);

  /// Self-attention of layer `layer` on normed x [B,T,hidden], rotary or not, output projection
  /// included. Biases as given.
  struct AttentionOptions {
    bool rotary = false;
    bool qkv_bias = false;
    bool output_bias = false;
  };
  ir::ValueId attention(ir::ValueId x, std::int64_t layer, const AttentionOptions& options);

  /// Final results from the last hidden state x [B,T,hidden], already normed.
  ir::Graph loss(ir::ValueId x);
  ir::Graph all_logits(ir::ValueId x);
  ir::Graph last_logits(ir::ValueId x);

  void set_label(std::string label) { builder_.set_label(std::move(label)); }

 private:
  ir::ValueId heads_of(ir::ValueId x, std::int64_t heads);
  ir::ValueId rotate(ir::ValueId x);
  ir::ValueId cached(ir::ValueId fresh, std::int64_t layer, const char* which);
  ir::ValueId counter();
  std::int64_t next_site() { return ++sites_; }
  ir::ValueId head_weight();

  const Architecture& architecture_;
  BatchShape shape_;
  DType dtype_;
  Mode mode_;
  std::int64_t cache_length_;
  ir::Graph graph_;
  ops::Builder builder_;
  ir::ValueId tokens_, positions_, visibility_;
  ir::ValueId targets_ = ir::kAbsent;
  std::vector<ParameterInfo> parameters_;
  std::int64_t sites_ = 0;
};

/// One transformer per family: the last hidden state, normed.
ir::ValueId gpt2_trunk(ForwardBuilder& forward);
ir::ValueId llama_trunk(ForwardBuilder& forward);

std::vector<ParameterInfo> gpt2_parameters(const Architecture& architecture);
std::vector<ParameterInfo> llama_parameters(const Architecture& architecture);

}  // namespace bessemer::models

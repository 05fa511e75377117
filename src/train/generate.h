// Text from a model, token by token, with a cache of keys and values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "runtime/executor.h"

namespace bessemer::train {

struct SamplingOptions {
  std::int64_t max_tokens = 128;
  double temperature = 0.8;  // 0: always the likeliest token
  std::int64_t top_k = 0;    // keep the k likeliest; 0: all
  double top_p = 1.0;        // keep the likeliest that together have this probability (Holtzman et
                             // al., "The curious case of neural text degeneration", 2020)
  std::uint64_t seed = 0;
};

/// The index drawn from `logits`: a function of the options and of `draw`, the count of draws so
/// far. Ties go to the lowest index.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint64_t draw);

class Generator {
 public:
  /// The executor's plan has the programs "prefill" and "decode" (compile.h); its parameters and
  /// what derives from them are set.
  Generator(const runtime::Executor& executor, const data::Tokenizer& tokenizer,
            std::int64_t attention_window = 0);

  /// Continues `prompt` (empty: from the start of a document) until the end-of-text token, the
  /// number of tokens asked for or the end of the cache. Hands over each piece of text as it comes,
  /// and returns it all, the prompt not included. InputError where the prompt is longer than the
  /// cache.
  std::string generate(std::string_view prompt, const SamplingOptions& options,
                       const std::function<void(std::string_view)>& piece = {}) const;

  /// Rows of the cache: the most tokens prompt and continuation can have.
  std::int64_t capacity() const { return capacity_; }

 private:
  std::span<const float> feed(std::span<const std::int32_t> tokens, std::int64_t position) const;
  std::span<const float> run(const char* program, std::span<const std::int32_t> tokens,
                             std::int64_t position) const;

  const runtime::Executor& executor_;
  const data::Tokenizer& tokenizer_;
  std::int64_t window_;
  std::int64_t capacity_ = 0;
};

}  // namespace bessemer::train

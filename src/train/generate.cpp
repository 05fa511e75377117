#include "train/generate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "train/compile.h"

namespace bessemer::train {
namespace {

// Candidates, likeliest first, that top_k and top_p leave, with their probabilities.
void keep_likeliest(const SamplingOptions& options, std::vector<std::int32_t>& order,
                    std::vector<double>& probability) {
  if (options.top_k > 0 && order.size() > static_cast<std::size_t>(options.top_k)) {
    order.resize(static_cast<std::size_t>(options.top_k));
  }
  if (options.top_p >= 1.0) return;
  const double all = std::accumulate(order.begin(), order.end(), 0.0, [&](double sum, auto i) {
    return sum + probability[static_cast<std::size_t>(i)];
  });
  double sum = 0;
  for (std::size_t n = 0; n < order.size(); ++n) {
    sum += probability[static_cast<std::size_t>(order[n])];
    if (sum >= options.top_p * all) {
      order.resize(n + 1);
      return;
    }
  }
}

}  // namespace

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint64_t draw) {
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  if (options.temperature <= 0) return static_cast<std::int32_t>(likeliest - logits.begin());
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  std::vector<double> probability(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    probability[i] = std::exp((static_cast<double>(logits[i]) - static_cast<double>(*likeliest)) /
                              options.temperature);
  }
  keep_likeliest(options, order, probability);
  double sum = 0;
  for (const std::int32_t i : order) sum += probability[static_cast<std::size_t>(i)];
  constexpr std::uint32_t kSite = 0x73616d70;  // a site of its own: no other place draws here
  const CounterRng rng(options.seed, static_cast<std::uint32_t>(draw), kSite);
  double left = static_cast<double>(rng.uniform(0)) * sum;
  for (const std::int32_t i : order) {
    left -= probability[static_cast<std::size_t>(i)];
    if (left < 0) return i;
  }
  return order.back();
}

Generator::Generator(const runtime::Executor& executor, const data::Tokenizer& tokenizer,
                     std::int64_t attention_window)
    : executor_(executor), tokenizer_(tokenizer), window_(attention_window) {
  for (const plan::CatalogEntry& entry : executor.plan().catalog) {
    if (entry.role == ir::Role::cache) capacity_ = entry.type.dim(1);
  }
  require(capacity_ > 0, "the plan has no caches to generate with");
}

std::span<const float> Generator::run(const char* program, std::span<const std::int32_t> tokens,
                                      std::int64_t position) const {
  auto* ids = executor_.data(program, "tokens").as<std::int32_t>();
  auto* positions = executor_.data(program, "positions").as<std::int32_t>();
  auto* visibility = executor_.data(program, "visibility").as<std::int32_t>();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto at = static_cast<std::int32_t>(position) + static_cast<std::int32_t>(i);
    ids[i] = tokens[i];
    positions[i] = at;
    visibility[2 * i] = window_ > 0 ? std::max(0, at + 1 - static_cast<std::int32_t>(window_)) : 0;
    visibility[2 * i + 1] = at + 1;
  }
  executor_.run(program);
  const runtime::TensorBytes logits = executor_.result(program, "logits");
  return {logits.as<float>(), static_cast<std::size_t>(tokenizer_.vocabulary_size())};
}

// Whole prefill programs while there are enough tokens, then one at a time.
std::span<const float> Generator::feed(std::span<const std::int32_t> tokens,
                                       std::int64_t position) const {
  std::span<const float> logits;
  while (!tokens.empty()) {
    const bool many = tokens.size() >= static_cast<std::size_t>(kPrefillTokens);
    const std::size_t n = many ? static_cast<std::size_t>(kPrefillTokens) : 1;
    logits = run(many ? "prefill" : "decode", tokens.first(n), position);
    tokens = tokens.subspan(n);
    position += static_cast<std::int64_t>(n);
  }
  return logits;
}

std::string Generator::generate(std::string_view prompt, const SamplingOptions& options,
                                const std::function<void(std::string_view)>& piece) const {
  std::vector<std::int32_t> tokens = tokenizer_.encode(prompt);
  const std::int32_t end_of_text = tokenizer_.end_of_text();
  if (tokens.empty()) tokens.push_back(end_of_text);
  auto position = static_cast<std::int64_t>(tokens.size());
  require_input(position < capacity_,
                "the prompt has {} tokens; with its continuation it may have {}", position,
                capacity_);
  std::span<const float> logits = feed(tokens, 0);
  std::string text;
  for (std::int64_t n = 0; n < options.max_tokens && position < capacity_; ++n, ++position) {
    const std::int32_t next = sample_token(logits, options, static_cast<std::uint64_t>(n));
    if (next == end_of_text) break;
    const std::string_view bytes = tokenizer_.token_bytes(next);
    text += bytes;
    if (piece) piece(bytes);
    logits = feed(std::span(&next, 1), position);
  }
  return text;
}

}  // namespace bessemer::train

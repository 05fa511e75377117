#include "data/bpe_trainer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "data/byte_alphabet.h"
#include "data/pair_merger.h"
#include "data/parallel.h"

namespace bessemer::data {
namespace {

/// The vocabulary before anything is learned.
TokenizerModel initial_model(const BpeTrainerOptions& options) {
  TokenizerModel model;
  model.pretokenizer = {PatternStep{options.pattern}};
  for (const std::string& content : options.special_tokens) {
    model.added.push_back({static_cast<std::int32_t>(model.tokens.size()), content});
    model.tokens.push_back({content, true});
  }
  for (const std::uint8_t byte : bytes_in_alphabet_order()) {
    model.tokens.push_back({std::string(1, static_cast<char>(byte)), false});
  }
  return model;
}

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options)
    : options_(std::move(options)),
      pattern_(options_.pattern),
      counts_(static_cast<std::size_t>(thread_count())) {
  const std::size_t least = options_.special_tokens.size() + 256;
  require_input(options_.vocabulary >= 0 && static_cast<std::size_t>(options_.vocabulary) >= least,
                "vocabulary = {}: expected at least {} (256 bytes and the special tokens)",
                options_.vocabulary, least);
}

void BpeTrainer::count(std::string_view text, Counts& counts) const {
  WordPattern::Words words(pattern_);
  words.start(text);
  std::string_view word;
  while (words.next(word)) {
    if (const auto found = counts.find(word); found != counts.end()) {
      ++found->second;
    } else {
      counts.emplace(word, 1);
    }
  }
}

void BpeTrainer::add(const std::vector<Piece>& pieces) {
  parallel_throwing(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i, int thread) {
    count(pieces[static_cast<std::size_t>(i)].text, counts_[static_cast<std::size_t>(thread)]);
  });
}

Tokenizer BpeTrainer::train(const std::function<void(std::int32_t)>& progress) const {
  Counts all = counts_.front();
  for (std::size_t i = 1; i < counts_.size(); ++i) {
    for (const auto& [word, times] : counts_[i]) all[word] += times;
  }
  TokenizerModel model = initial_model(options_);
  std::unordered_map<std::string, std::int32_t> id_of;
  for (std::size_t id = options_.special_tokens.size(); id < model.tokens.size(); ++id) {
    id_of.emplace(model.tokens[id].bytes, static_cast<std::int32_t>(id));
  }
  PairMerger merger;
  std::vector<std::int32_t> tokens;
  for (const auto& [word, times] : all) {
    tokens.clear();
    for (const char c : word) tokens.push_back(id_of.at(std::string(1, c)));
    merger.add_word(tokens, times);
  }
  all.clear();
  merger.start();
  while (model.tokens.size() < static_cast<std::size_t>(options_.vocabulary)) {
    const auto best = merger.pop();
    if (best.count == 0 || best.count < options_.min_count) break;
    const auto [left, right] = best.pair;
    const std::string bytes = model.tokens[static_cast<std::size_t>(left)].bytes +
                              model.tokens[static_cast<std::size_t>(right)].bytes;
    // Text must not become a special token by merging.
    const auto& special = options_.special_tokens;
    if (std::find(special.begin(), special.end(), bytes) != special.end()) continue;
    // Two pairs may spell the same token: both merge to it.
    const auto [entry, fresh] =
        id_of.emplace(bytes, static_cast<std::int32_t>(model.tokens.size()));
    if (fresh) model.tokens.push_back({bytes, false});
    model.merges.push_back(best.pair);
    merger.merge(best.pair, entry->second);
    if (progress && model.merges.size() % 256 == 0) {
      progress(static_cast<std::int32_t>(model.tokens.size()));
    }
  }
  return Tokenizer(std::move(model));
}

}  // namespace bessemer::data

// The writing half of tokenizer_json.h.
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/byte_alphabet.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

using nlohmann::json;

std::string quoted(const std::string& text) {
  try {
    return json(text).dump();
  } catch (const json::exception&) {
    fail_input("token {:?} is not UTF-8 and cannot stand in a JSON file", to_alphabet(text));
  }
}

/// The pattern of a byte-level tokenizer that cuts words by one pattern, or by none, and does no
/// more.
std::optional<std::string> pattern_of(const TokenizerModel& model) {
  if (!model.byte_level() || !model.normalizer.empty() || !model.ranks.empty()) return std::nullopt;
  if (model.pretokenizer.empty()) return "";
  const auto* step = std::get_if<PatternStep>(&model.pretokenizer.front());
  if (model.pretokenizer.size() != 1 || step == nullptr) return std::nullopt;
  return step->pattern;
}

std::string token_text(const TokenizerModel& model, std::size_t id) {
  const Token& token = model.tokens[id];
  return token.literal ? token.bytes : to_alphabet(token.bytes);
}

std::string byte_level_json(bool prefix_space, bool use_regex) {
  return fmt::format(
      R"({{"type": "ByteLevel", "add_prefix_space": {}, "trim_offsets": true, "use_regex": {}}})",
      prefix_space, use_regex);
}

std::string pre_tokenizer_json(const std::string& pattern) {
  if (pattern.empty()) return byte_level_json(false, false);
  if (pattern == kGpt2Pattern) return byte_level_json(false, true);
  return fmt::format(
      R"({{"type": "Sequence", "pretokenizers": [
    {{"type": "Split", "pattern": {{"Regex": {}}}, "behavior": "Isolated", "invert": false}},
    {}]}})",
      quoted(pattern), byte_level_json(false, false));
}

std::string added_json(const TokenizerModel& model) {
  std::string out;
  for (const AddedToken& token : model.added) {
    out += fmt::format(
        R"({}
    {{"id": {}, "content": {}, "single_word": {}, "lstrip": {}, "rstrip": {}, "normalized": {}, "special": {}}})",
        out.empty() ? "" : ",", token.id, quoted(token.content), token.single_word,
        token.strip_left, token.strip_right, token.normalized, token.special);
  }
  return out;
}

/// One more than the highest id of a token that is not only an added one.
std::size_t model_size(const TokenizerModel& model) {
  std::vector<bool> only_added(model.tokens.size(), false);
  for (const AddedToken& token : model.added) {
    const auto id = static_cast<std::size_t>(token.id);
    only_added[id] = model.tokens[id].literal;
  }
  std::size_t size = model.tokens.size();
  while (size > 0 && only_added[size - 1]) --size;
  return size;
}

/// Added tokens below the last token of the model stand here too: `tokenizers` numbers those that
/// do not from the size of the vocabulary on.
std::string vocabulary_json(const TokenizerModel& model) {
  std::string out;
  for (std::size_t id = 0; id < model_size(model); ++id) {
    if (model.tokens[id].bytes.empty()) continue;
    out +=
        fmt::format("{}\n      {}: {}", out.empty() ? "" : ",", quoted(token_text(model, id)), id);
  }
  return out;
}

std::string merges_json(const TokenizerModel& model) {
  std::string out;
  for (const auto& [left, right] : model.merges) {
    const std::string text = token_text(model, static_cast<std::size_t>(left)) + " " +
                             token_text(model, static_cast<std::size_t>(right));
    out += fmt::format("{}\n      {}", out.empty() ? "" : ",", quoted(text));
  }
  return out;
}

}  // namespace

std::string to_tokenizer_json(const Tokenizer& tokenizer) {
  const TokenizerModel& model = tokenizer.model();
  const std::optional<std::string> pattern = pattern_of(model);
  require(pattern.has_value(), "only what the BPE trainer makes can be written");
  const std::string processor = model.post_processor.empty() ? "null" : model.post_processor;
  return fmt::format(R"({{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [{}],
  "normalizer": null,
  "pre_tokenizer": {},
  "post_processor": {},
  "decoder": {},
  "model": {{
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": {},
    "vocab": {{{}}},
    "merges": [{}]
  }}
}}
)",
                     added_json(model), pre_tokenizer_json(*pattern), processor,
                     byte_level_json(true, true), std::get<ByteBpe>(model.subwords).ignore_merges,
                     vocabulary_json(model), merges_json(model));
}

void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path) {
  write_file_atomically(path, to_tokenizer_json(tokenizer));
}

}  // namespace bessemer::data

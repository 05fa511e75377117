#include "data/tokenizer_json.h"

#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/byte_alphabet.h"

namespace bessemer::data {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;  // a tokenizer.json nests some six levels

/// A value in the file and where it stands: every complaint names file and path.
class Node {
 public:
  Node(const json& value, const std::string& file, std::string path)
      : value_(&value), file_(&file), path_(std::move(path)) {}

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}: {}: {}", *file_, path_.empty() ? "(the whole)" : path_,
               fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void expected(std::string_view what) const {
    refuse("found {}, expected {}", value_->type_name(), what);
  }

  const json& value() const { return *value_; }
  bool is_null() const { return value_->is_null(); }

  /// A member; null where it is absent.
  Node operator[](const char* key) const {
    static const json kNull;
    if (!value_->is_object()) expected("an object");
    const auto found = value_->find(key);
    return Node(found == value_->end() ? kNull : *found, *file_,
                path_.empty() ? key : path_ + "." + key);
  }
  Node item(std::size_t i) const {
    return Node((*value_)[i], *file_, fmt::format("{}[{}]", path_, i));
  }
  Node member(const std::string& key, const json& value) const {
    return Node(value, *file_, fmt::format("{}[{:?}]", path_, key));
  }

  const json::object_t& object() const {
    if (!value_->is_object()) expected("an object");
    return value_->get_ref<const json::object_t&>();
  }
  std::size_t array_size() const {
    if (!value_->is_array()) expected("an array");
    return value_->size();
  }
  const std::string& text() const {
    if (!value_->is_string()) expected("a string");
    return value_->get_ref<const std::string&>();
  }
  bool flag(bool fallback) const {
    if (is_null()) return fallback;
    if (!value_->is_boolean()) expected("true or false");
    return value_->get<bool>();
  }
  /// An integer in [0, limit).
  std::int32_t id(std::size_t limit) const {
    if (!value_->is_number_integer()) expected("an id, an integer");
    const bool negative = !value_->is_number_unsigned() && value_->get<std::int64_t>() < 0;
    if (negative || value_->get<std::uint64_t>() >= limit) {
      refuse("id {} is out of range: expected 0 to {} in a file with so few tokens", value_->dump(),
             limit - 1);
    }
    return value_->get<std::int32_t>();
  }

 private:
  const json* value_;
  const std::string* file_;
  std::string path_;
};

/// Vocabulary strings as they stand in the file, to ids.
using Vocabulary = std::unordered_map<std::string, std::int32_t>;

Vocabulary read_vocabulary(const Node& node, std::size_t limit, TokenizerModel& model) {
  Vocabulary vocabulary;
  for (const auto& [text, value] : node.object()) {
    const Node entry = node.member(text, value);
    const std::int32_t id = entry.id(limit);
    const auto index = static_cast<std::size_t>(id);
    if (text.empty()) entry.refuse("an empty token");
    if (model.tokens.size() <= index) model.tokens.resize(index + 1);
    if (!model.tokens[index].bytes.empty()) {
      entry.refuse("id {} belongs to the token {:?} already; ids must be distinct", id,
                   to_alphabet(model.tokens[index].bytes));
    }
    const auto bytes = from_alphabet(text);
    model.tokens[index] = bytes ? Token{*bytes, false} : Token{text, true};
    vocabulary.emplace(text, id);
  }
  return vocabulary;
}

std::pair<std::string, std::string> read_merge(const Node& node) {
  if (node.value().is_array()) {
    if (node.array_size() != 2) node.refuse("found {} parts, expected two", node.array_size());
    return {node.item(0).text(), node.item(1).text()};
  }
  const std::string& text = node.text();
  const auto space = text.find(' ');
  const bool one_space = space != text.npos && text.find(' ', space + 1) == text.npos;
  if (!one_space) node.refuse("found {:?}, expected two tokens with one space between", text);
  return {text.substr(0, space), text.substr(space + 1)};
}

void read_merges(const Node& node, const Vocabulary& vocabulary, TokenizerModel& model) {
  if (node.is_null()) node.refuse("missing; a BPE model needs its merges (an array)");
  const std::size_t count = node.array_size();
  model.merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Node entry = node.item(i);
    const auto [left, right] = read_merge(entry);
    const auto id_of = [&](const std::string& part) {
      const auto found = vocabulary.find(part);
      if (found == vocabulary.end()) {
        entry.refuse("token {:?} is not in model.vocab; the file is damaged or cut together", part);
      }
      return found->second;
    };
    model.merges.emplace_back(id_of(left), id_of(right));
    id_of(left + right);
  }
}

void read_model(const Node& node, std::size_t limit, TokenizerModel& model,
                Vocabulary& vocabulary) {
  const Node type = node["type"];
  if (!type.is_null() && type.text() != "BPE") {
    type.refuse("found {:?}; only byte-level \"BPE\" is supported", type.text());
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Node affix = node[key];
    if (!affix.is_null() && !affix.text().empty()) affix.refuse("must be null or empty");
  }
  if (node["byte_fallback"].flag(false)) {
    node["byte_fallback"].refuse("SentencePiece models are not supported; use a byte-level one");
  }
  const json& dropout = node["dropout"].value();
  if (!dropout.is_null() && dropout != 0) node["dropout"].refuse("must be null or 0");
  model.ignore_merges = node["ignore_merges"].flag(false);
  vocabulary = read_vocabulary(node["vocab"], limit, model);
  read_merges(node["merges"], vocabulary, model);
}

void read_added(const Node& node, std::size_t limit, const Vocabulary& vocabulary,
                TokenizerModel& model) {
  if (node.is_null()) return;
  for (std::size_t i = 0; i < node.array_size(); ++i) {
    const Node entry = node.item(i);
    AddedToken token;
    token.content = entry["content"].text();
    token.id = entry["id"].id(limit);
    token.special = entry["special"].flag(false);
    token.normalized = entry["normalized"].flag(!token.special);
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (entry[key].flag(false)) entry[key].refuse("true is not supported");
    }
    const auto known = vocabulary.find(token.content);
    if (known != vocabulary.end() && known->second != token.id) {
      entry["id"].refuse("found {}, but model.vocab has {:?} as {}", token.id, token.content,
                         known->second);
    }
    const auto index = static_cast<std::size_t>(token.id);
    if (model.tokens.size() <= index) model.tokens.resize(index + 1);
    Token& slot = model.tokens[index];
    const bool same = known != vocabulary.end() || slot.bytes.empty();
    if (!same)
      entry["id"].refuse("id {} belongs to the token {:?} already", token.id,
                         to_alphabet(slot.bytes));
    if (slot.bytes != token.content) slot = {token.content, true};
    model.added.push_back(std::move(token));
  }
}

/// A ByteLevel step: whether it cuts by GPT-2's pattern.
bool read_byte_level(const Node& node) {
  if (node["add_prefix_space"].flag(true)) {
    node["add_prefix_space"].refuse("must be false: a space put in front would change the text");
  }
  return node["use_regex"].flag(true);
}

std::string read_split(const Node& node) {
  const std::string& behavior = node["behavior"].text();
  const bool inverted = node["invert"].flag(false);
  const bool isolated = behavior == "Isolated" || (behavior == "Removed" && inverted);
  if (!isolated) node["behavior"].refuse("found {:?}, expected \"Isolated\"", behavior);
  const std::string& pattern = node["pattern"]["Regex"].text();
  if (pattern.empty()) node["pattern"]["Regex"].refuse("an empty pattern");
  return pattern;
}

std::string read_pattern(const Node& node) {
  constexpr std::string_view kShapes =
      "expected \"ByteLevel\", or a \"Sequence\" of one \"Split\" and one \"ByteLevel\"";
  if (node.is_null()) node.refuse("missing; {}", kShapes);
  const std::string& type = node["type"].text();
  if (type == "ByteLevel") return read_byte_level(node) ? std::string(kGpt2Pattern) : "";
  const Node steps = node["pretokenizers"];
  if (type != "Sequence") node["type"].refuse("found {:?}, {}", type, kShapes);
  const std::size_t count = steps.array_size();
  if (count == 1) return read_pattern(steps.item(0));
  const bool split_first = count == 2 && steps.item(0)["type"].text() == "Split" &&
                           steps.item(1)["type"].text() == "ByteLevel";
  if (!split_first) steps.refuse("{} steps of other kinds; {}", count, kShapes);
  if (read_byte_level(steps.item(1))) {
    steps.item(1)["use_regex"].refuse("must be false behind a Split");
  }
  return read_split(steps.item(0));
}

json parse_json(std::string_view text, const std::string& name) {
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    require_input(depth <= kDeepest, "{}: nested more than {} levels deep", name, kDeepest);
    return true;
  };
  try {
    return json::parse(text, shallow);
  } catch (const json::exception& error) {
    fail_input("{}: not valid JSON ({}); fetch the file again", name, error.what());
  }
}

/// Ids may leave gaps, but not so many that they could only be damage.
std::size_t id_limit(const Node& root) {
  constexpr std::size_t kGaps = 1 << 16;
  const Node added = root["added_tokens"];
  return root["model"]["vocab"].object().size() + (added.is_null() ? 0 : added.array_size()) +
         kGaps;
}

std::string quoted(const std::string& text) {
  try {
    return json(text).dump();
  } catch (const json::exception&) {
    fail_input("token {:?} is not UTF-8 and cannot stand in a JSON file", to_alphabet(text));
  }
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
    {{"id": {}, "content": {}, "single_word": false, "lstrip": false, "rstrip": false, "normalized": {}, "special": {}}})",
        out.empty() ? "" : ",", token.id, quoted(token.content), token.normalized, token.special);
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

Tokenizer parse_tokenizer_json(std::string_view text, const std::string& name) {
  const json document = parse_json(text, name);
  const Node root(document, name, "");
  if (!root["normalizer"].is_null()) {
    root["normalizer"].refuse("must be null: a normalized text cannot be given back");
  }
  const std::size_t limit = id_limit(root);
  TokenizerModel model;
  Vocabulary vocabulary;
  read_model(root["model"], limit, model, vocabulary);
  read_added(root["added_tokens"], limit, vocabulary, model);
  model.pattern = read_pattern(root["pre_tokenizer"]);
  const Node processor = root["post_processor"];
  if (!processor.is_null()) model.post_processor = processor.value().dump();
  try {
    return Tokenizer(std::move(model));
  } catch (const InputError& error) {
    fail_input("{}: {}", name, error.what());
  }
}

Tokenizer load_tokenizer(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return parse_tokenizer_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                              path.string());
}

std::string to_tokenizer_json(const Tokenizer& tokenizer) {
  const TokenizerModel& model = tokenizer.model();
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
                     added_json(model), pre_tokenizer_json(model.pattern), processor,
                     byte_level_json(true, true), model.ignore_merges, vocabulary_json(model),
                     merges_json(model));
}

void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path) {
  write_file_atomically(path, to_tokenizer_json(tokenizer));
}

}  // namespace bessemer::data

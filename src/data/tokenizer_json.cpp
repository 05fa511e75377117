// The reading half of tokenizer_json.h.
#include "data/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/byte_alphabet.h"
#include "data/json_node.h"
#include "data/tokenizer_steps_json.h"

namespace bessemer::data {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;  // a tokenizer.json nests some six levels

/// Vocabulary strings as they stand in the file, to ids.
using Vocabulary = std::unordered_map<std::string, std::int32_t>;

/// One file being read.
class Reader {
 public:
  explicit Reader(const JsonNode& root) : root_(root), limit_(id_limit()) {}

  TokenizerModel read() {
    model_.normalizer = read_normalizer(root_["normalizer"]);
    PretokenizerJson pretokenizer = read_pretokenizer(root_["pre_tokenizer"]);
    model_.pretokenizer = std::move(pretokenizer.steps);
    byte_level_ = pretokenizer.byte_level;
    read_model();
    read_added();
    if (!byte_level_) model_.decoder = read_decoder(root_["decoder"]);
    const JsonNode processor = root_["post_processor"];
    if (!processor.is_null()) model_.post_processor = processor.value().dump();
    return std::move(model_);
  }

 private:
  /// Ids may leave gaps, but not so many that they could only be damage.
  std::size_t id_limit() const {
    constexpr std::size_t kGaps = 1 << 16;
    const JsonNode vocabulary = root_["model"]["vocab"];
    const JsonNode added = root_["added_tokens"];
    const std::size_t tokens =
        vocabulary.value().is_array() ? vocabulary.array_size() : vocabulary.object().size();
    return tokens + (added.is_null() ? 0 : added.array_size()) + kGaps;
  }

  void read_model() {
    const JsonNode node = root_["model"];
    const JsonNode type = node["type"];
    if (!type.is_null() && type.text() == "Unigram") return read_unigram(node);
    if (!type.is_null() && type.text() != "BPE") {
      type.refuse("found {:?}; only \"BPE\" and \"Unigram\" are supported", type.text());
    }
    read_bpe(node);
  }

  void read_bpe(const JsonNode& node) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const JsonNode affix = node[key];
      if (!affix.is_null() && !affix.text().empty()) affix.refuse("must be null or empty");
    }
    const json& dropout = node["dropout"].value();
    if (!dropout.is_null() && dropout != 0) node["dropout"].refuse("must be null or 0");
    const bool byte_fallback = node["byte_fallback"].flag(false);
    const bool ignore_merges = node["ignore_merges"].flag(false);
    for (const auto& [text, value] : node["vocab"].object()) {
      const JsonNode entry = node["vocab"].member(text, value);
      place_token(entry, text, entry.id(limit_), byte_fallback);
    }
    read_merges(node["merges"]);
    if (byte_level_) {
      model_.subwords = ByteBpe{ignore_merges};
      return;
    }
    PieceBpe pieces;
    pieces.fuse_unknown = node["fuse_unk"].flag(false);
    pieces.byte_fallback = byte_fallback;
    pieces.ignore_merges = ignore_merges;
    const JsonNode unknown = node["unk_token"];
    if (!unknown.is_null()) pieces.unknown = id_of(unknown, unknown.text());
    model_.subwords = std::move(pieces);
  }

  void read_unigram(const JsonNode& node) {
    if (byte_level_) node["type"].refuse("a Unigram model behind a ByteLevel pre-tokenizer");
    Unigram unigram;
    unigram.byte_fallback = node["byte_fallback"].flag(false);
    const JsonNode vocabulary = node["vocab"];
    const std::size_t count = vocabulary.array_size();
    if (count == 0) vocabulary.refuse("is empty");
    double lowest = std::numeric_limits<double>::infinity();
    for (std::size_t id = 0; id < count; ++id) {
      const JsonNode entry = vocabulary.item(id);
      if (entry.array_size() != 2) entry.expected("a piece and its score");
      unigram.scores.push_back(entry.item(1).number());
      lowest = std::min(lowest, unigram.scores.back());
      place_token(entry.item(0), entry.item(0).text(), static_cast<std::int32_t>(id),
                  unigram.byte_fallback);
    }
    constexpr double kUnknownPenalty = 10;
    unigram.unknown_score = lowest - kUnknownPenalty;
    if (!node["unk_id"].is_null()) unigram.unknown = node["unk_id"].id(count);
    model_.subwords = std::move(unigram);
  }

  void place_token(const JsonNode& entry, const std::string& text, std::int32_t id,
                   bool byte_fallback) {
    const auto index = static_cast<std::size_t>(id);
    if (text.empty()) entry.refuse("an empty token");
    if (model_.tokens.size() <= index) model_.tokens.resize(index + 1);
    Token& slot = model_.tokens[index];
    if (!slot.bytes.empty()) {
      entry.refuse("id {} belongs to the token {:?} already; ids must be distinct", id,
                   slot.piece.empty() ? to_alphabet(slot.bytes) : slot.piece);
    }
    if (byte_level_) {
      const auto bytes = from_alphabet(text);
      slot = bytes ? Token{*bytes, false} : Token{text, true};
    } else {
      slot = {surface_of_piece(text, byte_fallback), false, text};
    }
    vocabulary_[text] = id;
  }

  std::int32_t id_of(const JsonNode& entry, const std::string& text) const {
    const auto found = vocabulary_.find(text);
    if (found == vocabulary_.end()) {
      entry.refuse("token {:?} is not in model.vocab; the file is damaged or cut together", text);
    }
    return found->second;
  }

  static std::pair<std::string, std::string> read_merge(const JsonNode& node) {
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

  void read_merges(const JsonNode& node) {
    if (node.is_null()) node.refuse("missing; a BPE model needs its merges (an array)");
    const std::size_t count = node.array_size();
    model_.merges.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const JsonNode entry = node.item(i);
      const auto [left, right] = read_merge(entry);
      model_.merges.emplace_back(id_of(entry, left), id_of(entry, right));
      id_of(entry, left + right);
    }
  }

  void read_added() {
    const JsonNode node = root_["added_tokens"];
    if (node.is_null()) return;
    for (std::size_t i = 0; i < node.array_size(); ++i) {
      const JsonNode entry = node.item(i);
      AddedToken token;
      token.content = entry["content"].text();
      token.id = entry["id"].id(limit_);
      token.special = entry["special"].flag(false);
      token.normalized = entry["normalized"].flag(!token.special);
      token.single_word = entry["single_word"].flag(false);
      token.strip_left = entry["lstrip"].flag(false);
      token.strip_right = entry["rstrip"].flag(false);
      place_added(entry, token);
      model_.added.push_back(std::move(token));
    }
  }

  void place_added(const JsonNode& entry, const AddedToken& token) {
    const auto known = vocabulary_.find(token.content);
    if (known != vocabulary_.end() && known->second != token.id) {
      entry["id"].refuse("found {}, but model.vocab has {:?} as {}", token.id, token.content,
                         known->second);
    }
    const auto index = static_cast<std::size_t>(token.id);
    if (model_.tokens.size() <= index) model_.tokens.resize(index + 1);
    Token& slot = model_.tokens[index];
    if (known == vocabulary_.end() && !slot.bytes.empty()) {
      entry["id"].refuse("id {} belongs to the token {:?} already", token.id,
                         slot.piece.empty() ? to_alphabet(slot.bytes) : slot.piece);
    }
    const bool piece = slot.piece == token.content && !slot.piece.empty();
    if (slot.bytes != token.content && !piece) slot = {token.content, true};
  }

  JsonNode root_;
  std::size_t limit_;  // of ids
  bool byte_level_ = false;
  Vocabulary vocabulary_;
  TokenizerModel model_;
};

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

}  // namespace

Tokenizer parse_tokenizer_json(std::string_view text, const std::string& name) {
  const json document = parse_json(text, name);
  TokenizerModel model = Reader(JsonNode(document, name, "")).read();
  try {
    return Tokenizer(std::move(model));
  } catch (const InputError& error) {
    fail_input("{}: {}", name, error.what());
  }
}

}  // namespace bessemer::data

#include "data/tokenizer_steps_json.h"

#include <array>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "data/base64.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kMostSteps = 64;

/// Calls `read(step)` for the steps of a value that may be null, a step or a Sequence of steps.
template <typename Read>
void each_step(const JsonNode& node, const char* list, const Read& read) {
  if (node.is_null()) return;
  if (node["type"].text() != "Sequence") return read(node);
  const JsonNode steps = node[list];
  if (steps.array_size() > kMostSteps) steps.refuse("{} steps", steps.array_size());
  for (std::size_t i = 0; i < steps.array_size(); ++i) each_step(steps.item(i), list, read);
}

std::size_t runes_in(std::string_view text) {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return n;
}

std::string one_character(const JsonNode& node) {
  const std::string& text = node.text();
  if (runes_in(text) != 1) node.refuse("found {:?}, expected one character", text);
  return text;
}

/// Special characters of patterns, escaped.
std::string escaped(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || byte >= 0x80;
    if (c == '\0') {
      out += R"(\x00)";
    } else {
      if (!plain) out.push_back('\\');
      out.push_back(c);
    }
  }
  return out;
}

// --- normalizers ---------------------------------------------------------------------------------

ReplaceStep read_replace(const JsonNode& node) {
  ReplaceStep step;
  const JsonNode pattern = node["pattern"];
  const bool literal = !pattern["String"].is_null();
  (literal ? step.literal : step.pattern) = pattern[literal ? "String" : "Regex"].text();
  if (step.literal.empty() && step.pattern.empty()) pattern.refuse("an empty pattern");
  step.content = node["content"].text();
  return step;
}

CharsmapStep read_charsmap(const JsonNode& node) {
  const JsonNode map = node["precompiled_charsmap"];
  const auto bytes = decode_base64(map.text());
  if (!bytes) map.refuse("not base64; fetch the file again");
  try {
    return {std::make_shared<const Charsmap>(*bytes)};
  } catch (const InputError& error) {
    map.refuse("{}", error.what());
  }
}

NormalizerStep read_normalizer_step(const JsonNode& node) {
  const std::string& type = node["type"].text();
  if (type == "NFC") return UnicodeForm::nfc;
  if (type == "NFD") return UnicodeForm::nfd;
  if (type == "NFKC") return UnicodeForm::nfkc;
  if (type == "NFKD") return UnicodeForm::nfkd;
  if (type == "Prepend") return PrependStep{node["prepend"].text()};
  if (type == "Replace") return read_replace(node);
  if (type == "Strip")
    return StripStep{node["strip_left"].flag(true), node["strip_right"].flag(true)};
  if (type == "Lowercase") return LowercaseStep{};
  if (type == "StripAccents") return StripAccentsStep{};
  if (type == "Nmt") return NmtStep{};
  if (type == "Precompiled") return read_charsmap(node);
  node["type"].refuse(
      "found the normalizer {:?}, expected NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, "
      "Lowercase, "
      "StripAccents, Nmt, Precompiled or Sequence; use a tokenizer without it",
      type);
}

// --- pre-tokenizers ------------------------------------------------------------------------------

using Behavior = SplitStep::Behavior;

Behavior read_behavior(const JsonNode& node) {
  static constexpr std::array<std::pair<std::string_view, Behavior>, 5> kNames{{
      {"Removed", Behavior::removed},
      {"Isolated", Behavior::isolated},
      {"MergedWithPrevious", Behavior::merged_with_previous},
      {"MergedWithNext", Behavior::merged_with_next},
      {"Contiguous", Behavior::contiguous},
  }};
  for (const auto& [name, behavior] : kNames) {
    if (node.text() == name) return behavior;
  }
  node.refuse(
      "found {:?}, expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
      node.text());
}

/// Splits that keep every match and what lies between as words of their own are patterns.
PretokenizerStep split_step(std::string pattern, Behavior behavior, bool inverted = false,
                            UnicodeVersion unicode = kUnicodeOfPatterns) {
  if (behavior == Behavior::isolated) return PatternStep{std::move(pattern), unicode};
  return SplitStep{std::move(pattern), behavior, inverted, unicode};
}

PretokenizerStep read_split(const JsonNode& node) {
  const JsonNode pattern = node["pattern"];
  const bool literal = !pattern["String"].is_null();
  const JsonNode text = pattern[literal ? "String" : "Regex"];
  if (text.text().empty()) text.refuse("an empty pattern");
  const Behavior behavior = read_behavior(node["behavior"]);
  const bool inverted = node["invert"].flag(false);
  // The patterns of byte-level tokenizers match everything, so that nothing is removed.
  const bool covers =
      text.text() == kGpt2Pattern || text.text() == kLlama3Pattern || text.text() == kQwen2Pattern;
  if (covers && inverted && behavior == Behavior::removed) return PatternStep{text.text()};
  return split_step(literal ? escaped(text.text()) : text.text(), behavior, inverted);
}

MetaspaceStep read_metaspace(const JsonNode& node) {
  MetaspaceStep step;
  step.replacement = one_character(node["replacement"]);
  step.split = node["split"].flag(true);
  const JsonNode scheme = node["prepend_scheme"];
  if (scheme.is_null()) {  // older files
    const bool prefix = node["add_prefix_space"].flag(true);
    step.prepend = prefix ? MetaspaceStep::Prepend::always : MetaspaceStep::Prepend::never;
  } else if (scheme.text() == "always") {
    step.prepend = MetaspaceStep::Prepend::always;
  } else if (scheme.text() == "first") {
    step.prepend = MetaspaceStep::Prepend::first;
  } else if (scheme.text() == "never") {
    step.prepend = MetaspaceStep::Prepend::never;
  } else {
    scheme.refuse("found {:?}, expected always, first or never", scheme.text());
  }
  return step;
}

void read_pretokenizer_step(const JsonNode& node, PretokenizerJson& out) {
  // With two characters that were punctuation once.
  constexpr std::string_view kPunctuation = R"([\p{P}$+<=>^`|~\x{166d}\x{111c9}])";
  // \w+|[^\w\s]+ with Rust's \w, which has the zero-width joiners.
  const std::string word = std::string(kWordCharacters) + R"(\x{200c}\x{200d})";
  const std::string whitespace_words = fmt::format(R"([{0}]+|[^{0}\s]+)", word);
  const std::string& type = node["type"].text();
  if (out.byte_level) node.refuse("a step behind ByteLevel; expected that to be the last");
  if (type == "ByteLevel") {
    out.byte_level = true;
    if (node["add_prefix_space"].flag(true)) out.steps.emplace_back(PrefixSpaceStep{});
    if (node["use_regex"].flag(true))
      out.steps.emplace_back(PatternStep{std::string(kGpt2Pattern)});
  } else if (type == "Split") {
    out.steps.push_back(read_split(node));
  } else if (type == "Metaspace") {
    out.steps.emplace_back(read_metaspace(node));
  } else if (type == "Digits") {
    out.steps.emplace_back(PatternStep{
        node["individual_digits"].flag(false) ? R"(\p{N})" : R"(\p{N}+)", kUnicodeOfRust});
  } else if (type == "Punctuation") {
    const JsonNode behavior = node["behavior"];
    out.steps.push_back(
        split_step(std::string(kPunctuation),
                   behavior.is_null() ? Behavior::isolated : read_behavior(behavior), false,
                   kUnicodeOfPunctuation));
  } else if (type == "Whitespace") {
    out.steps.emplace_back(SplitStep{whitespace_words, Behavior::removed, true});
  } else if (type == "WhitespaceSplit") {
    out.steps.emplace_back(SplitStep{R"(\s)", Behavior::removed});
  } else {
    node["type"].refuse(
        "found the pre-tokenizer {:?}, expected ByteLevel, Split, Metaspace, Digits, Punctuation, "
        "Whitespace, WhitespaceSplit or Sequence; use a tokenizer without it",
        type);
  }
}

// --- decoders ------------------------------------------------------------------------------------

std::size_t read_count(const JsonNode& node) {
  return static_cast<std::size_t>(node.id(std::numeric_limits<std::int32_t>::max()));
}

DecoderStep read_decoder_step(const JsonNode& node) {
  const std::string& type = node["type"].text();
  if (type == "ByteFallback") return ByteFallbackStep{};
  if (type == "Fuse") return FuseStep{};
  if (type == "Replace") {
    const JsonNode literal = node["pattern"]["String"];
    if (literal.text().empty()) literal.refuse("an empty pattern");
    return ReplaceTokensStep{literal.text(), node["content"].text()};
  }
  if (type == "Strip") {
    return StripTokensStep{one_character(node["content"]), read_count(node["start"]),
                           read_count(node["stop"])};
  }
  if (type == "Metaspace") {
    const MetaspaceStep step = read_metaspace(node);
    return MetaspaceTokensStep{step.replacement, step.prepend != MetaspaceStep::Prepend::never};
  }
  node["type"].refuse(
      "found the decoder {:?}, expected Replace, ByteFallback, Fuse, Strip, Metaspace or Sequence; "
      "use a tokenizer without it",
      type);
}

}  // namespace

std::vector<NormalizerStep> read_normalizer(const JsonNode& node) {
  std::vector<NormalizerStep> steps;
  each_step(node, "normalizers",
            [&](const JsonNode& step) { steps.push_back(read_normalizer_step(step)); });
  return steps;
}

PretokenizerJson read_pretokenizer(const JsonNode& node) {
  PretokenizerJson out;
  each_step(node, "pretokenizers",
            [&](const JsonNode& step) { read_pretokenizer_step(step, out); });
  return out;
}

StepsDecoder read_decoder(const JsonNode& node) {
  StepsDecoder decoder;
  decoder.spaces_between = node.is_null();
  each_step(node, "decoders",
            [&](const JsonNode& step) { decoder.steps.push_back(read_decoder_step(step)); });
  return decoder;
}

}  // namespace bessemer::data

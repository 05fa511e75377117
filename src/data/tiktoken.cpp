#include "data/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "data/base64.h"

namespace bessemer::data {
namespace {

/// A special token and its distance from the first id behind the ranks.
struct Special {
  static constexpr std::int32_t kFirstFree = -1;  // the first id that no rank has
  std::string content;
  std::int32_t distance;
};

struct Encoding {
  std::string_view name;  // in file names
  std::string_view id;    // that it is kept under
  std::size_t ranks;      // of the published file
  std::string_view pattern;
  std::vector<Special> specials;
};

std::vector<Special> llama3_specials() {
  std::vector<Special> out{{"<|begin_of_text|>", 0},
                           {"<|end_of_text|>", 1},
                           {"<|reserved_special_token_0|>", 2},
                           {"<|reserved_special_token_1|>", 3},
                           {"<|reserved_special_token_2|>", 4},
                           {"<|reserved_special_token_3|>", 5},
                           {"<|start_header_id|>", 6},
                           {"<|end_header_id|>", 7},
                           {"<|reserved_special_token_4|>", 8},
                           {"<|eot_id|>", 9}};
  for (int i = 5; i < 251; ++i) {
    out.push_back({fmt::format("<|reserved_special_token_{}|>", i), i + 5});
  }
  return out;
}

std::vector<Special> qwen_specials() {
  std::vector<Special> out{{"<|endoftext|>", 0}, {"<|im_start|>", 1}, {"<|im_end|>", 2}};
  for (int i = 0; i < 205; ++i) out.push_back({fmt::format("<|extra_{}|>", i), i + 3});
  return out;
}

const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> all = [] {
    const std::vector<Special> end{{"<|endoftext|>", 0}};
    const std::vector<Special> cl100k{{"<|endoftext|>", 1},
                                      {"<|fim_prefix|>", 2},
                                      {"<|fim_middle|>", 3},
                                      {"<|fim_suffix|>", 4},
                                      {"<|endofprompt|>", 20}};
    const std::vector<Special> o200k{{"<|endoftext|>", 1}, {"<|endofprompt|>", 20}};
    return std::vector<Encoding>{
        {"r50k_base", "r50k_base", 50256, kGpt2Pattern, end},
        {"p50k_base", "p50k_base", 50280, kGpt2Pattern, {{"<|endoftext|>", Special::kFirstFree}}},
        {"cl100k_base", "cl100k_base", 100256, kCl100kPattern, cl100k},
        {"o200k_base", "o200k_base", 199998, kO200kPattern, o200k},
        {"llama-3", "llama3", 128000, kLlama3Pattern, llama3_specials()},
        {"llama3", "llama3", 128000, kLlama3Pattern, llama3_specials()},
        {"qwen", "qwen", 151643, kQwen2Pattern, qwen_specials()},
    };
  }();
  return all;
}

struct Rank {
  std::string token;
  std::int32_t rank = 0;
};

Rank parse_line(std::string_view line, std::size_t number) {
  const auto refuse = [&](std::string_view what) {
    fail_input("line {}: {}; expected a token in base64, a space and its rank", number, what);
  };
  const std::size_t space = line.find(' ');
  if (space == line.npos) refuse("no space");
  const auto token = decode_base64(line.substr(0, space));
  if (!token || token->empty()) refuse("the token is not base64");
  Rank out{*token, 0};
  const char* const end = line.data() + line.size();
  const auto [stop, code] = std::from_chars(line.data() + space + 1, end, out.rank);
  if (code != std::errc() || stop != end || out.rank < 0) refuse("the rank is no number");
  return out;
}

std::vector<Rank> parse_ranks(std::string_view text) {
  std::vector<Rank> ranks;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) ranks.push_back(parse_line(line, number));
  }
  return ranks;
}

const Encoding& encoding_of(const std::string& name, std::size_t ranks) {
  const std::string file = name.substr(name.find_last_of('/') + 1);
  for (const Encoding& encoding : encodings()) {
    if (file.find(encoding.name) != file.npos) return encoding;
  }
  std::string known;
  for (const Encoding& encoding : encodings()) {
    if (encoding.ranks == ranks) return encoding;
    known +=
        fmt::format("{}{} ({} ranks)", known.empty() ? "" : ", ", encoding.name, encoding.ranks);
  }
  fail_input(
      "{} ranks under a name that is none of an encoding: how text is cut into words is not known; "
      "put one of these into the file's name: {}",
      ranks, known);
}

TokenizerModel model_of(const std::vector<Rank>& ranks, const Encoding& encoding) {
  constexpr std::size_t kGaps = 1 << 16;
  TokenizerModel model;
  for (const Rank& rank : ranks) {
    const auto id = static_cast<std::size_t>(rank.rank);
    require_input(id < ranks.size() + kGaps, "rank {} in a file of {} ranks; fetch the file again",
                  id, ranks.size());
    if (model.tokens.size() <= id) model.tokens.resize(id + 1);
    require_input(model.tokens[id].bytes.empty(), "rank {} is there twice", id);
    model.tokens[id].bytes = rank.token;
  }
  const auto end = static_cast<std::int32_t>(model.tokens.size());
  for (const Special& special : encoding.specials) {
    const auto free = std::find_if(model.tokens.begin(), model.tokens.end(),
                                   [](const Token& token) { return token.bytes.empty(); });
    const auto index = special.distance == Special::kFirstFree
                           ? static_cast<std::size_t>(free - model.tokens.begin())
                           : static_cast<std::size_t>(end + special.distance);
    if (model.tokens.size() <= index) model.tokens.resize(index + 1);
    model.added.push_back({static_cast<std::int32_t>(index), special.content});
  }
  model.ranks.assign(model.tokens.size(), -1);
  for (const Rank& rank : ranks) model.ranks[static_cast<std::size_t>(rank.rank)] = rank.rank;
  model.pretokenizer = {PatternStep{std::string(encoding.pattern)}};
  model.subwords = ByteBpe{true};
  return model;
}

}  // namespace

bool looks_like_tiktoken(std::string_view text) {
  try {
    parse_line(text.substr(0, text.find_first_of("\r\n")), 1);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

Tiktoken parse_tiktoken(std::string_view text, const std::string& name) {
  try {
    const std::vector<Rank> ranks = parse_ranks(text);
    const Encoding& encoding = encoding_of(name, ranks.size());
    return {std::string(encoding.id), Tokenizer(model_of(ranks, encoding))};
  } catch (const InputError& error) {
    fail_input("{}: as a tiktoken file: {}", name, error.what());
  }
}

}  // namespace bessemer::data

// Characters that tables of different versions of Unicode do not agree about, as `tokenizers` has
// them (golden/make_golden_unicode.py), and patterns that engines do not agree about.
#include "data/unicode_version.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/graphemes.h"
#include "data/regex.h"
#include "data/regex_syntax.h"
#include "data/tokenizer_steps_json.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

Strings pieces_of(const Pretokenizer& pretokenizer, const std::string& text) {
  Pretokenizer::Words words(pretokenizer);
  words.start(text, true);
  Strings pieces;
  for (std::string_view word; words.next(word);) pieces.emplace_back(word);
  return pieces;
}

TEST(UnicodeVersion, StepsGiveWhatTheOriginalsGive) {
  std::ifstream file(std::filesystem::path(BESSEMER_SOURCE_DIR) /
                     "tests/data/golden/unicode.jsonl");
  const std::string name = "unicode.jsonl";
  std::size_t rows = 0;
  for (std::string line; std::getline(file, line);) {
    const json document = json::parse(line);
    const JsonNode node(document, name, "");
    const Normalizer normalizer(read_normalizer(node["normalizer"]));
    const Pretokenizer pretokenizer(read_pretokenizer(node["pre_tokenizer"]).steps);
    for (const json& row : document.at("rows")) {
      const auto text = row.at(0).get<std::string>();
      ++rows;
      if (row.at(1).is_array()) {
        EXPECT_EQ(pieces_of(pretokenizer, text), row.at(1).get<Strings>())
            << json(text).dump(-1, ' ', true) << "\n"
            << document["pre_tokenizer"];
      } else {
        EXPECT_EQ(normalizer.normalize(text), row.at(1).get<std::string>())
            << json(text).dump(-1, ' ', true);
      }
    }
  }
  EXPECT_GT(rows, 500u);
}

// Whatever version the tables have.
TEST(StandIns, AreOldCharactersOrNone) {
  const struct {
    UnicodeVersion wanted, tables;
    char32_t rune, expected;
  } rows[] = {
      {160, 140, 'a', 'a'},
      {160, 140, 0x1C89, 0xA640},  // Unicode 16: a capital letter of Cyrillic
      {160, 160, 0x1C89, 0x1C89},  // known to both
      {150, 140, 0x1C89, 0x1C89},  // known to neither
      {150, 160, 0x1C89, 0xFFFE},  // only the tables know it
      {160, 170, 0x20C1, 0xFFFE},  // Unicode 17
      {170, 160, 0x20C1, 0x20C0},
      {80, 140, 0x9FD, 0xFFFE},  // Unicode 10
      {160, 140, 0x31350, 0x30000 + 0x134A},
      {160, 160, 0x1171E, 0x11726},  // was another kind of mark once
  };
  for (const auto& row : rows) {
    EXPECT_EQ(StandIns::of(row.wanted, row.tables)(row.rune), row.expected)
        << row.wanted << " " << row.tables << std::hex << " " << static_cast<unsigned>(row.rune);
  }
}

TEST(StandIns, HaveTheLengthOfWhatTheyStandFor) {
  for (const UnicodeVersion tables : {140, 150, 170}) {
    const StandIns& stand_ins = StandIns::of(kUnicodeOfPatterns, tables);
    for (char32_t rune = 0; rune < 0x110000; ++rune) {
      if (rune >= 0xD800 && rune <= 0xDFFF) continue;
      std::string text, buffer;
      append_utf8(text, rune);
      ASSERT_EQ(stand_ins.replace(text, buffer).size(), text.size()) << static_cast<unsigned>(rune);
    }
  }
}

TEST(Graphemes, JoinConjunctsAndYoungMarks) {
  const struct {
    std::string text;
    std::vector<std::size_t> ends;
  } rows[] = {
      {"ab\r\nc", {1, 2, 4, 5}},
      {"\u0915\u094d\u0937x", {9, 10}},          // rule GB9c: a conjunct
      {"\u0915\u0301\u094d\u200d\u0937", {14}},  // with marks beside the virama
      {"\u0915\u0937", {3, 6}},                  // no virama
      {"\u0915\u094d\u200c\u0937", {9, 12}},     // held apart
      {"\u1000\u1039\u1001", {9}},               // joined since Unicode 16
      {"x\u1acf", {4}},                          // a mark of Unicode 17
      {"\U0001f469\u200d\U0001f469\U0001f1e9\U0001f1ea\U0001f1e9", {11, 19, 23}},
  };
  for (const auto& row : rows) EXPECT_EQ(grapheme_ends(row.text), row.ends) << row.text;
}

TEST(RegexSyntax, RefusesWhatWouldMeanSomethingElse) {
  for (const std::string pattern : {R"([a&&b])", R"([a[bc]])", R"([\W])", R"(\X)", R"(\R+)"}) {
    EXPECT_THROW(from_oniguruma(pattern), InputError) << pattern;
  }
  for (const std::string pattern :
       {R"([]a]+)", R"([^]\]a-]x)", R"([[:alpha:]_])", R"((?m:.)(?i-m:x))", R"((?<!a)(?=b)\[[&]&&)",
        R"([\S\h\B])", "[", "\\"}) {
    EXPECT_NO_THROW(from_oniguruma(pattern)) << pattern;
  }
  Regex dot_all("(?m:a.)");
  Regex::Matcher matcher(dot_all);
  matcher.start("xa\n");
  EXPECT_EQ(matcher.find(0)->second, 3u);
}

}  // namespace
}  // namespace bessemer::data

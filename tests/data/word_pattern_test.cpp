#include "data/word_pattern.h"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/random_text.h"
#include "data/source.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

std::vector<std::string> words_of(const WordPattern& pretokenizer, std::string_view text) {
  WordPattern::Words words(pretokenizer);
  words.start(text);
  std::vector<std::string> all;
  for (std::string_view word; words.next(word);) all.emplace_back(word);
  return all;
}

using Strings = std::vector<std::string>;

TEST(WordPattern, Gpt2Words) {
  const WordPattern gpt2{std::string(kGpt2Pattern)};
  const struct {
    std::string_view text;
    Strings words;
  } rows[] = {
      {"", {}},
      {"Hello, world!", {"Hello", ",", " world", "!"}},
      {"I'll we'RE", {"I", "'ll", " we", "'", "RE"}},
      {"a   b", {"a", "  ", " b"}},
      {"a \n b\n", {"a", " \n", " b", "\n"}},
      {"x 12a3", {"x", " 12", "a", "3"}},
      {"end  ", {"end", "  "}},
      {"a \xff\xfe b", {"a", " ", "\xff\xfe", " b"}},
      {"a  \xff", {"a", "  ", "\xff"}},
  };
  for (const auto& row : rows) EXPECT_EQ(words_of(gpt2, row.text), row.words) << row.text;
}

TEST(WordPattern, Llama3Words) {
  const WordPattern llama3{std::string(kLlama3Pattern)};
  const struct {
    std::string_view text;
    Strings words;
  } rows[] = {
      {"Hello, world!", {"Hello", ",", " world", "!"}},
      {"we'RE 'LLama", {"we", "'RE", " '", "LLama"}},
      {"12345 6", {"123", "45", " ", "6"}},
      {"(word)!\n\n  x", {"(word", ")!\n\n", " ", " x"}},
      {"  \n \n  x", {"  \n \n", " ", " x"}},
      {"\tx", {"\tx"}},
  };
  for (const auto& row : rows) EXPECT_EQ(words_of(llama3, row.text), row.words) << row.text;
}

// The hand-written scanners are PCRE2's patterns, bit for bit.
TEST(WordPattern, ScannersCutAsPcre2Does) {
  for (const std::string_view pattern :
       {kGpt2Pattern, kLlama3Pattern, kQwen2Pattern, kCl100kPattern}) {
    const WordPattern scanner{std::string(pattern)};
    const WordPattern reference{std::string(pattern), WordPattern::Engine::pcre2};
    ASSERT_TRUE(scanner.cuttable());
    ASSERT_FALSE(reference.cuttable());
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
      const bool invalid = seed % 2 == 1;
      const std::string text = random_fragments(seed, 3 + seed % 60, invalid);
      ASSERT_EQ(words_of(scanner, text), words_of(reference, text))
          << "seed " << seed << ", pattern " << pattern;
    }
    const std::string bytes = random_bytes(7, 20000);
    EXPECT_EQ(words_of(scanner, bytes), words_of(reference, bytes));
  }
}

TEST(WordPattern, EveryCodePointHasTheClassThatPcre2Gives) {
  const WordPattern scanner{std::string(kGpt2Pattern)};
  const WordPattern reference{std::string(kGpt2Pattern), WordPattern::Engine::pcre2};
  std::string text;
  for (char32_t rune = 0; rune < 0x110000; ++rune) {
    if (rune >= 0xD800 && rune <= 0xDFFF) continue;
    append_utf8(text, rune);
    text += rune % 2 == 0 ? 'a' : '!';
  }
  EXPECT_EQ(words_of(scanner, text), words_of(reference, text));
}

// What makes it right to encode a long document in pieces.
TEST(WordPattern, PiecesHaveTheWordsOfTheWhole) {
  std::size_t cuts = 0;
  for (const std::string_view pattern :
       {kGpt2Pattern, kLlama3Pattern, kQwen2Pattern, kCl100kPattern, kO200kPattern}) {
    const WordPattern words{std::string(pattern)};
    ASSERT_TRUE(words.cuttable());
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
      std::string text;
      for (std::uint64_t i = 0; i < 12; ++i) {
        text += random_fragments(100 * seed + i, 1 + seed % 4, seed % 2 == 1);
        text += std::array{"!\n/x", "a\nb", ")\n'", "1\n2", "\n\n", "'\nS"}[(seed + i) % 6];
      }
      Strings pieces;
      std::size_t begin = 0;
      for (std::size_t cut; (cut = find_cut(text, begin)) != text.npos; begin = cut, ++cuts) {
        for (auto& word : words_of(words, text.substr(begin, cut - begin))) pieces.push_back(word);
      }
      for (auto& word : words_of(words, text.substr(begin))) pieces.push_back(word);
      ASSERT_EQ(pieces, words_of(words, text)) << "seed " << seed << ", pattern " << pattern;
    }
  }
  EXPECT_GT(cuts, 1000u);
}

TEST(WordPattern, WordsAreTheWholeText) {
  for (const std::string& pattern : {std::string("[ab]+"), std::string(R"(\d)"), std::string(),
                                     std::string(R"(\s+|\S)"), std::string(R"(a\Kb|c*)")}) {
    const WordPattern pretokenizer(pattern);
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const std::string text = random_fragments(seed, 40, true) + "aabcc1a";
      std::string joined;
      for (const std::string& word : words_of(pretokenizer, text)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      EXPECT_EQ(joined, text) << pattern;
    }
  }
}

TEST(WordPattern, RefusesABrokenPattern) { EXPECT_THROW(WordPattern("(a"), InputError); }

TEST(WordPattern, RefusesAPatternThatNeverEnds) {
  const WordPattern pretokenizer("(a+)+(a+)+$");
  const std::string text(4000, 'a');
  EXPECT_THROW(words_of(pretokenizer, text + "!" + text + "!"), InputError);
}

}  // namespace
}  // namespace bessemer::data

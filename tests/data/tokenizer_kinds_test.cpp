// Tokenizers of every kind of file, against ids and texts that the originals gave
// (golden/make_golden_pieces.py), and against damage.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temporary_directory.h"
#include "data/bpe_trainer.h"
#include "data/golden.h"
#include "data/random_text.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

const std::vector<std::string> kFiles{"sp_bpe.model",
                                      "sp_unigram.model",
                                      "llama2.json",
                                      "mistral.json",
                                      "gemma.json",
                                      "t5.json",
                                      "xlmr.json",
                                      "normalizers.json",
                                      "gpt2.json",
                                      "llama3.json",
                                      "tiny_cl100k_base.tiktoken",
                                      "tiny_o200k_base.tiktoken"};

TEST(TokenizerKinds, GiveTheIdsAndTextsOfTheOriginals) {
  for (const std::string& file : kFiles) {
    const Tokenizer tokenizer = load_tokenizer(golden(file));
    Encoder encoder(tokenizer);
    std::ifstream rows(golden(std::filesystem::path(file).stem().string() + ".ids.jsonl"));
    int count = 0;
    for (std::string line; std::getline(rows, line); ++count) {
      const json row = json::parse(line);
      const auto text = row.at("text").get<std::string>();
      Ids ids;
      encoder.encode(text, AddedTokens::as_ids, ids);
      EXPECT_EQ(ids, row.at("ids").get<Ids>()) << file << ": " << json(text).dump();
      if (!row.contains("decoded")) continue;
      EXPECT_EQ(tokenizer.decode(row.at("ids").get<Ids>()), row.at("decoded").get<std::string>())
          << file << ": " << json(text).dump();
    }
    EXPECT_GE(count, 20) << file;
  }
}

// A word seen again comes from the cache, and a fresh encoder has none.
TEST(TokenizerKinds, TheCacheChangesNothing) {
  for (const std::string& file : kFiles) {
    const Tokenizer tokenizer = load_tokenizer(golden(file));
    Encoder encoder(tokenizer);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::string text = random_fragments(seed, 150, true);
      Ids once, twice;
      encoder.encode(text, AddedTokens::as_ids, once);
      encoder.encode(text, AddedTokens::as_ids, twice);
      EXPECT_EQ(once, twice) << file;
      EXPECT_EQ(once, tokenizer.encode(text)) << file;
    }
  }
}

TEST(TokenizerKinds, OnlyByteLevelTokenizersKeepBytesThatAreNotUtf8) {
  const std::string text = "a\xff\xfe z\xc3";
  EXPECT_EQ(load_tokenizer(golden("tiny_cl100k_base.tiktoken"))
                .decode(load_tokenizer(golden("tiny_cl100k_base.tiktoken")).encode(text)),
            text);
  const Tokenizer pieces = load_tokenizer(golden("sp_bpe.model"));
  EXPECT_EQ(pieces.decode(pieces.encode(text)), "a\uFFFD\uFFFD z\uFFFD");
  EXPECT_EQ(pieces.encode(text), pieces.encode("a\uFFFD\uFFFD z\uFFFD"));
}

TEST(TokenizerKinds, DocumentsAreCutOnlyWhereTokensStayTheSame) {
  const struct {
    std::string file;
    bool cuttable;
  } rows[] = {{"gpt2.json", true},
              {"llama3.json", true},
              {"tiny_cl100k_base.tiktoken", true},
              {"tiny_o200k_base.tiktoken", true},
              {"llama2.json", false},
              {"t5.json", false},
              {"sp_bpe.model", false}};
  for (const auto& row : rows) {
    EXPECT_EQ(load_tokenizer(golden(row.file)).cuttable(), row.cuttable) << row.file;
  }
  // Normalization forms do not reach over a newline; an added token that takes white space does.
  json file = json::parse(read_file(golden("gpt2.json")));
  file["normalizer"] = {{"type", "NFC"}};
  EXPECT_TRUE(parse_tokenizer(file.dump(), "nfc").cuttable());
  file["normalizer"] = {{"type", "Strip"}};
  EXPECT_FALSE(parse_tokenizer(file.dump(), "strip").cuttable());
  file["normalizer"] = nullptr;
  file["added_tokens"][0]["lstrip"] = true;
  EXPECT_FALSE(parse_tokenizer(file.dump(), "lstrip").cuttable());
}

TEST(TokenizerKinds, ATokenStandsForItsBytes) {
  const Tokenizer pieces = load_tokenizer(golden("sp_bpe.model"));
  EXPECT_EQ(pieces.token_bytes(*pieces.find_token("\u2581the")), " the");
  EXPECT_EQ(pieces.token_bytes(*pieces.find_token("<0x0A>")), "\n");
  EXPECT_EQ(pieces.end_of_text(), *pieces.find_token("</s>"));
  const Tokenizer ranks = load_tokenizer(golden("tiny_cl100k_base.tiktoken"));
  EXPECT_EQ(ranks.end_of_text(), *ranks.find_token("<|endoftext|>"));
}

// The work of merging grows with the word, not with its square: of these words every pair merges.
TEST(WordMerger, LooksUpAFewPairsAToken) {
  MergeTable table(20);
  for (std::int32_t level = 0; level < 20; ++level) {
    table.insert(level, level, {level, level + 1});
  }
  for (const std::size_t n : {std::size_t{1} << 14, std::size_t{1} << 20}) {
    WordMerger merger;
    Ids word(n, 0);
    merger.merge(table, word);
    EXPECT_EQ(word.size(), 1u);
    EXPECT_LE(merger.lookups(), 6 * n) << n;
  }
}

// Unigram goes over a word once; a megabyte without a space is one word.
TEST(TokenizerKinds, WordsOfAMegabyte) {
  std::string text;
  while (text.size() < (1u << 20)) text += "themillerandthewheelofthe";
  for (const std::string file : {"t5.json", "sp_unigram.model", "llama2.json", "sp_bpe.model"}) {
    const Tokenizer tokenizer = load_tokenizer(golden(file));
    const Ids ids = tokenizer.encode(text);
    EXPECT_LT(ids.size(), text.size()) << file;
    EXPECT_EQ(tokenizer.decode(ids), text) << file;
  }
}

TEST(TokenizerFile, IsKeptAsItIsAndFoundAgain) {
  const struct {
    std::string file, kept;
  } rows[] = {{"gpt2.json", "tokenizer.json"},
              {"sp_bpe.model", "tokenizer.model"},
              {"tiny_cl100k_base.tiktoken", "cl100k_base.tiktoken"}};
  const TemporaryDirectory directory;
  EXPECT_FALSE(find_tokenizer(directory.path()));
  for (const auto& row : rows) {  // one after the other in one place: the last one counts
    EXPECT_EQ(keep_tokenizer(golden(row.file), directory.path()), directory.path() / row.kept);
    const auto found = find_tokenizer(directory.path());
    ASSERT_TRUE(found);
    EXPECT_EQ(found->filename(), row.kept);
    EXPECT_EQ(read_file(*found), read_file(golden(row.file)));
    EXPECT_EQ(load_tokenizer(*found).encode("the mill"),
              load_tokenizer(golden(row.file)).encode("the mill"));
  }
}

std::string input_error_of(std::string_view bytes, const std::string& name) {
  try {
    parse_tokenizer(bytes, name);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(none)";
}

TEST(TokenizerFile, NamesWhatIsWrong) {
  const std::string model = read_file(golden("sp_bpe.model"));
  const std::string ranks = read_file(golden("tiny_cl100k_base.tiktoken"));
  const struct {
    std::string bytes, name, expected;
  } rows[] = {
      {"", "x.json", "x.json: the file is empty"},
      {"PK\x03\x04", "x.json", "x.json: not valid JSON"},
      {model.substr(0, model.size() - 3), "x", "x: as a SentencePiece model: byte "},
      {"\x0a\x03\x0a\x01x", "x", "expected exactly one piece of the type unknown"},
      {"\x0a\x02\x18\x07", "x", "a piece of the unknown type 7"},
      {"\x0a\x7f", "x.model", "byte 2: a field reaches over the end"},
      {ranks, "unknown.tiktoken", "489 ranks under a name that is none of an encoding"},
      {ranks + "!!!! 490\n", "cl100k_base", "line 490: the token is not base64"},
      {ranks + "YWI= x\n", "cl100k_base", "line 490: the rank is no number"},
      {ranks + "YWI= 5\n", "cl100k_base", "rank 5 is there twice"},
      {ranks + "eHl6eHl6 4000000\n", "cl100k_base", "rank 4000000 in a file of 490 ranks"},
      {ranks.substr(ranks.find('\n') + 1), "cl100k_base", "has no token for byte 0x21"},
  };
  for (const auto& row : rows) {
    const std::string message = input_error_of(row.bytes, row.name);
    EXPECT_NE(message.find(row.expected), std::string::npos) << row.expected << "\n" << message;
  }
}

// Parts of a tokenizer.json that the families outside byte-level BPE have.
TEST(TokenizerJson, NamesWhatIsWrongInPieces) {
  const struct {
    std::string file, pointer;
    json value;
    std::string expected;
  } rows[] = {
      {"t5.json", "/model/vocab/7", json::array({"x"}),
       "model.vocab[7]: found array, expected a piece"},
      {"t5.json", "/model/vocab/7/1", "x", "model.vocab[7][1]: found string, expected a number"},
      {"t5.json", "/model/unk_id", 100000, "model.unk_id: id 100000 is out of range"},
      {"t5.json", "/normalizer/normalizers/0/precompiled_charsmap", "?", "not base64"},
      {"t5.json", "/normalizer/normalizers/0/precompiled_charsmap", "AAAA", "has 3 bytes"},
      {"t5.json", "/normalizer/normalizers/1/type", "BertNormalizer",
       "normalizer.normalizers[1].type: found the normalizer \"BertNormalizer\""},
      {"t5.json", "/pre_tokenizer/prepend_scheme", "sometimes", "expected always, first or never"},
      {"t5.json", "/pre_tokenizer/replacement", "ab", "expected one character"},
      {"t5.json", "/decoder/type", "WordPiece", "decoder.type: found the decoder \"WordPiece\""},
      {"gemma.json", "/pre_tokenizer/behavior", "Sideways", "pre_tokenizer.behavior"},
      {"gemma.json", "/pre_tokenizer/pattern", {{"Regex", "(a"}}, "missing closing parenthesis"},
      {"llama2.json", "/model/unk_token", "<gone>", "model.unk_token: token \"<gone>\" is not in"},
      {"llama2.json", "/model/merges/0", "x\u2581 y", "model.merges[0]"},
  };
  for (const auto& row : rows) {
    json bad = json::parse(read_file(golden(row.file)));
    bad[json::json_pointer(row.pointer)] = row.value;
    const std::string message = input_error_of(bad.dump(), "bad.json");
    EXPECT_EQ(message.find("bad.json: "), 0u) << message;
    EXPECT_NE(message.find(row.expected), std::string::npos) << row.pointer << ": " << message;
  }
}

/// Refused with an InputError, or a tokenizer that works.
void expect_survives(const std::string& bytes, const std::string& name) {
  try {
    const Tokenizer tokenizer = parse_tokenizer(bytes, name);
    const Ids ids = tokenizer.encode("The <sym> mill\u2581's \u00e9\u212b\n\xff <mask> ab\u4e00");
    tokenizer.decode(ids);
  } catch (const InputError&) {
  }
}

TEST(TokenizerFile, SurvivesDamage) {
  for (const std::string file : {"sp_bpe.model", "sp_unigram.model", "llama2.json", "t5.json",
                                 "tiny_cl100k_base.tiktoken"}) {
    const std::string good = read_file(golden(file));
    const CounterRng rng(11, 0, 0);
    for (std::uint32_t i = 0; i < 60; ++i) {
      expect_survives(good.substr(0, rng.word(3 * i) % good.size()), file);
      std::string flipped = good;
      flipped[rng.word(3 * i + 1) % good.size()] ^=
          static_cast<char>(1 << (rng.word(3 * i + 2) % 8));
      expect_survives(flipped, file);
    }
  }
}

}  // namespace
}  // namespace bessemer::data

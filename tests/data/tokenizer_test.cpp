#include "data/tokenizer.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/bpe_trainer.h"
#include "data/golden.h"
#include "data/random_text.h"
#include "data/data_directory.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

TEST(Tokenizer, GivesTheIdsOfHuggingFace) {
  for (const std::string kind : {"gpt2", "llama3"}) {
    const Tokenizer tokenizer = load_tokenizer(golden(kind + ".json"));
    Encoder encoder(tokenizer);
    std::ifstream file(golden(kind + ".ids.jsonl"));
    int rows = 0;
    for (std::string line; std::getline(file, line); ++rows) {
      const json row = json::parse(line);
      const auto text = row.at("text").get<std::string>();
      Ids ids;
      encoder.encode(text, AddedTokens::as_ids, ids);
      EXPECT_EQ(ids, row.at("ids").get<Ids>()) << kind << ": " << text;
      EXPECT_EQ(tokenizer.decode(ids), text);
    }
    EXPECT_GE(rows, 20);
  }
}

TEST(Tokenizer, WrittenFilesReadBackTheSame) {
  for (const std::string kind : {"gpt2", "llama3"}) {
    const Tokenizer first = load_tokenizer(golden(kind + ".json"));
    const std::string written = to_tokenizer_json(first);
    const Tokenizer second = parse_tokenizer_json(written, "written");
    EXPECT_EQ(to_tokenizer_json(second), written);
    const json a = json::parse(read_file(golden(kind + ".json"))), b = json::parse(written);
    EXPECT_EQ(a["model"]["vocab"], b["model"]["vocab"]);
    EXPECT_EQ(a["added_tokens"], b["added_tokens"]);
    EXPECT_EQ(a["post_processor"], b["post_processor"]);
    EXPECT_EQ(a["model"]["ignore_merges"], b["model"]["ignore_merges"]);
    const std::string text = random_fragments(3, 500, false) + "<|endoftext|>zyx zyx";
    EXPECT_EQ(first.encode(text), second.encode(text));
  }
}

TEST(Tokenizer, DecodeIsTheInverseOfEncodeOnAnyBytes) {
  for (const std::string kind : {"gpt2", "llama3"}) {
    const Tokenizer tokenizer = load_tokenizer(golden(kind + ".json"));
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const std::string text = seed % 2 == 0 ? random_bytes(seed, 1 + seed * 37)
                                             : random_fragments(seed, 200, true) + "<|endoftext|>" +
                                                   random_fragments(seed + 1000, 50, true);
      for (const auto added : {AddedTokens::as_ids, AddedTokens::as_text}) {
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, added)), text) << seed;
      }
    }
  }
}

TEST(Tokenizer, AddedTokensAreIdsOrText) {
  const Tokenizer tokenizer = load_tokenizer(golden("gpt2.json"));
  const std::int32_t end = tokenizer.end_of_text();
  EXPECT_EQ(tokenizer.encode("<|endoftext|>"), Ids{end});
  const Ids text = tokenizer.encode("<|endoftext|>", AddedTokens::as_text);
  EXPECT_GT(text.size(), 1u);
  EXPECT_EQ(std::count(text.begin(), text.end(), end), 0);
}

TEST(Tokenizer, TheCacheForgetsAndStaysRight) {
  const Tokenizer tokenizer = load_tokenizer(golden("gpt2.json"));
  Encoder encoder(tokenizer);
  std::string text;
  for (int i = 0; i < 150000; ++i) text.append(" ").append(std::to_string(i * 7)).append("the");
  Ids once, twice;
  encoder.encode(text, AddedTokens::as_text, once);
  encoder.encode(text, AddedTokens::as_text, twice);
  EXPECT_EQ(once, twice);
  EXPECT_EQ(tokenizer.decode(once), text);
}

TEST(Tokenizer, OneWordOfMegabytes) {
  const Tokenizer tokenizer = load_tokenizer(golden("gpt2.json"));
  std::string text;
  while (text.size() < (9u << 20)) text += "themillerandthewheelofthe";
  const Ids ids = tokenizer.encode(text);
  EXPECT_LT(ids.size(), text.size() / 2);
  EXPECT_EQ(tokenizer.decode(ids), text);
}

TEST(WordMerger, TheHeapGivesWhatTheScanGives) {
  const Tokenizer tokenizer = load_tokenizer(golden("gpt2.json"));
  MergeTable table(tokenizer.model().merges.size());
  for (std::size_t rank = 0; rank < tokenizer.model().merges.size(); ++rank) {
    const auto [a, b] = tokenizer.model().merges[rank];
    const auto bytes =
        std::string(tokenizer.token_bytes(a)) + std::string(tokenizer.token_bytes(b));
    table.insert(a, b, {static_cast<std::int32_t>(rank), *tokenizer.find_token(bytes)});
  }
  WordMerger merger;
  const CounterRng rng(5, 0, 0);
  const std::string letters = "theaandwlr ";
  for (std::uint32_t n = 0; n < 300; ++n) {
    Ids word;
    for (std::uint32_t i = 0; i < n; ++i) {
      const char c = letters[rng.word(n * 1000 + i) % letters.size()];
      word.push_back(*tokenizer.find_token(std::string_view(&c, 1)));
    }
    Ids scanned = word, heaped = word;
    merger.merge_short(table, scanned);
    merger.merge_long(table, heaped);
    ASSERT_EQ(scanned, heaped) << n;
  }
}

TEST(Tokenizer, DecodeNamesAnUnknownId) {
  const Tokenizer tokenizer = load_tokenizer(golden("gpt2.json"));
  const Ids ids{1, 999999};
  EXPECT_NE(input_error_of([&] { tokenizer.decode(ids); }).find("999999"), std::string::npos);
}

// Each row damages the file in one way; the message names the place.
TEST(TokenizerJson, NamesWhatIsWrong) {
  const json good = json::parse(read_file(golden("gpt2.json")));
  const struct {
    std::string pointer;  // where
    json value;           // what to put there; discarded: remove
    std::string expected;
  } rows[] = {
      {"/model/merges", json(json::value_t::discarded), "model.merges: missing"},
      {"/model/merges/3", "Ġ nope", "model.merges[3]: token \"nope\" is not in model.vocab"},
      {"/model/merges/3", "a b c", "model.merges[3]"},
      {"/model/merges/3", json::array({"a"}), "model.merges[3]: found 1 parts"},
      {"/model/merges/3", 17, "model.merges[3]: found number, expected a string"},
      {"/model/merges/3", good["model"]["merges"][2], "merge 3 of"},
      {"/model/vocab/a", good["model"]["vocab"]["b"], "ids must be distinct"},
      {"/model/vocab/a", 4000000000u, "model.vocab[\"a\"]: id 4000000000 is out of range"},
      {"/model/vocab/a", -1, "model.vocab[\"a\"]: id -1 is out of range"},
      {"/model/vocab/a", "x", "model.vocab[\"a\"]: found string, expected an id"},
      {"/model/vocab/a", json(json::value_t::discarded), "model.merges["},
      {"/model/vocab/\u0100", json(json::value_t::discarded), "no token for byte 0x00"},
      {"/model/vocab", 1, "model.vocab: found number, expected an object"},
      {"/model/type", "WordPiece", "model.type: found \"WordPiece\""},
      {"/model/type", "Unigram", "model.type: a Unigram model behind a ByteLevel"},
      {"/model/dropout", 0.1, "model.dropout"},
      {"/added_tokens/0/id", 5, "added_tokens[0].id: found 5, but model.vocab"},
      {"/added_tokens/0/content", "<new>", "added_tokens[0].id: id 0 belongs to the token"},
      {"/normalizer", {{"type", "BertNormalizer"}}, "normalizer.type: found the normalizer"},
      {"/pre_tokenizer/type", "Bert", "pre_tokenizer.type: found the pre-tokenizer \"Bert\""},
  };
  for (const auto& row : rows) {
    json bad = good;
    const json::json_pointer pointer(row.pointer);
    if (row.value.is_discarded()) {
      bad[pointer.parent_pointer()].erase(pointer.back());
    } else {
      bad[pointer] = row.value;
    }
    const std::string message =
        input_error_of([&] { parse_tokenizer_json(bad.dump(), "bad.json"); });
    EXPECT_EQ(message.find("bad.json: "), 0u) << row.pointer << ": " << message;
    EXPECT_NE(message.find(row.expected), std::string::npos) << row.pointer << ": " << message;
  }
}

TEST(TokenizerJson, SurvivesTruncationAndNesting) {
  const std::string good = read_file(golden("gpt2.json"));
  for (std::size_t n = 0; n + 3 < good.size(); n += 97) {
    EXPECT_THROW(parse_tokenizer_json(good.substr(0, n), "cut"), InputError) << n;
  }
  EXPECT_THROW(parse_tokenizer_json(std::string(100000, '['), "deep"), InputError);
  EXPECT_THROW(parse_tokenizer_json("3", "number"), InputError);
}

BpeTrainerOptions golden_options(const std::string& pattern) {
  BpeTrainerOptions options;
  options.vocabulary = 700;
  options.pattern = pattern;
  return options;
}

Tokenizer train(const BpeTrainerOptions& options, std::string text) {
  BpeTrainer trainer(options);
  trainer.add({Piece{std::move(text), true}});
  return trainer.train();
}

TEST(BpeTrainer, LearnsWhatHuggingFaceLearns) {
  const Tokenizer ours =
      train(golden_options(std::string(kGpt2Pattern)), read_file(golden("train.txt")));
  const Tokenizer theirs = load_tokenizer(golden("gpt2.json"));
  EXPECT_EQ(ours.model().merges, theirs.model().merges);
  ASSERT_EQ(ours.vocabulary_size(), theirs.vocabulary_size());
  for (std::int32_t id = 0; id < ours.vocabulary_size(); ++id) {
    EXPECT_EQ(ours.token_bytes(id), theirs.token_bytes(id)) << id;
  }
}

TEST(BpeTrainer, ASmallKnownCase) {
  BpeTrainerOptions options;
  options.vocabulary = 256 + 3;
  options.special_tokens.clear();
  // Words: "aaaa" x3, " ab" x2. Pairs: aa 9, " a" 2, ab 2. Then of aa·aa (3), " a" and ab (2).
  const Tokenizer tokenizer = train(options, "aaaa!aaaa!aaaa! ab ab");
  ASSERT_EQ(tokenizer.vocabulary_size(), 259);
  EXPECT_EQ(tokenizer.token_bytes(256), "aa");
  EXPECT_EQ(tokenizer.token_bytes(257), "aaaa");
  EXPECT_EQ(tokenizer.token_bytes(258), "ab");  // before " a": its left id is lower
}

TEST(BpeTrainer, StopsWhereNoPairIsLeft) {
  BpeTrainerOptions options;
  options.vocabulary = 5000;
  EXPECT_LT(train(options, "one two").vocabulary_size(), 262);
}

TEST(BpeTrainer, TextNeverBecomesASpecialToken) {
  BpeTrainerOptions options;
  options.vocabulary = 262;
  options.special_tokens = {"<|endoftext|>", "pad"};
  const Tokenizer tokenizer = train(options, "pad pad pad pad pad padding");
  for (const std::int32_t id : tokenizer.encode("pad padding", AddedTokens::as_text)) {
    EXPECT_GT(id, 1);
  }
  EXPECT_EQ(parse_tokenizer_json(to_tokenizer_json(tokenizer), "x").encode("pad"), Ids{1});
}

TEST(BpeTrainer, DoesNotDependOnHowDocumentsAreHandedOver) {
  BpeTrainerOptions options;
  options.vocabulary = 600;
  BpeTrainer whole(options), parts(options);
  std::vector<Piece> pieces;
  for (int i = 0; i < 40; ++i)
    pieces.push_back({random_fragments(static_cast<std::uint64_t>(i), 300, true), true});
  whole.add(pieces);
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) parts.add({*piece});
  EXPECT_EQ(to_tokenizer_json(whole.train()), to_tokenizer_json(parts.train()));
}

TEST(BpeTrainer, RefusesAVocabularyWithoutRoom) {
  BpeTrainerOptions options;
  options.vocabulary = 256;
  EXPECT_THROW(BpeTrainer{options}, InputError);
}

}  // namespace
}  // namespace bessemer::data

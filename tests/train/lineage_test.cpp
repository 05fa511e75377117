#include "train/lineage.h"

#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/run.h"

namespace bessemer::train {
namespace {

// Documents of very different lengths in two text files, one with separators, and in JSON lines.
class LineageTest : public ::testing::TestWithParam<const char*> {
 protected:
  LineageTest() {
    std::filesystem::create_directories(place_.path() / "text");
    std::string many;
    for (int d = 0; d < 40; ++d) {
      for (int w = 0; w <= (d * d) % 90; ++w) many += fmt::format("word{} of {}\n", w, d);
      many += d % 2 == 0 ? "<|endoftext|>\n" : "<|endoftext|>\r\n";
    }
    write("text/a.txt", many);
    write("text/b.txt", "one document with é and \xFF bytes, rather short");
    std::string lines;
    for (int d = 0; d < 50; ++d) {
      const std::string text =
          fmt::format("row {} said: \"{}\"\n", d, std::string(d * 7 % 60, 'x'));
      lines += nlohmann::json{{"n", d}, {"text", text}}.dump() + (d % 3 == 0 ? "\n\n" : "\n");
    }
    write("rows.jsonl", lines);
    config_ = place_.config("lineage", 4, {fmt::format("data.packing={}", GetParam())});
    config_.data.sources = {{"text", place_.path() / "text", 1.0, {}, {}},
                            {"rows", place_.path() / "rows.jsonl", 0.5, {}, {}}};
    corpus_ = prepare_corpus(config_);
  }

  void write(const std::string& name, const std::string& bytes) const {
    write_file_atomically(place_.path() / name, bytes);
  }

  // The text of a document, from where it is said to begin.
  std::string document_of(const ReadPart& part) const {
    std::string text = read_file(part.file).substr(part.file_offset);
    if (!part.file.ends_with(".jsonl")) return text.substr(0, text.find("<|endoftext|>"));
    return nlohmann::json::parse(text.substr(0, text.find('\n')))["text"];
  }

  testing::RunPlace place_;
  config::RunConfig config_;
  Corpus corpus_;
};

TEST_P(LineageTest, TheBytesSayWhatTheTokensSay) {
  const auto length = static_cast<std::size_t>(config_.data.sequence_length);
  const std::int64_t batch = *config_.train.global_batch_size;
  std::vector<std::int32_t> tokens(length), targets(length), positions(length), seen(2 * length);
  for (std::int64_t step = 1; step <= 30; ++step) {
    std::int64_t filled = 0, sequence = -1;
    for (const ReadPart& part : parts_of_step(config_, corpus_, step)) {
      if (part.sequence != sequence) {
        sequence = part.sequence;
        filled = 0;
        const auto index = static_cast<std::uint64_t>((step - 1) * batch + sequence);
        corpus_.training->read(index, {tokens, targets, positions, seen});
      }
      EXPECT_EQ(part.offset, filled);
      filled += part.tokens;
      std::vector<std::int32_t> ids(tokens.begin() + part.offset, tokens.begin() + filled);
      if (ids.back() == corpus_.tokenizer->end_of_text()) ids.pop_back();
      EXPECT_EQ(corpus_.tokenizer->decode(ids),
                document_of(part).substr(part.byte_begin, part.byte_end - part.byte_begin))
          << "step " << step << ", " << part.source << " document " << part.document;
    }
    EXPECT_EQ(sequence, batch - 1);
  }
}

TEST_P(LineageTest, AnOpenedCorpusIsThePreparedOne) {
  std::filesystem::remove_all(place_.path() / "text");  // sources are not looked at
  const Corpus opened = open_corpus(config_);
  const auto before = parts_of_step(config_, corpus_, 7), after = parts_of_step(config_, opened, 7);
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].document, after[i].document);
    EXPECT_EQ(before[i].byte_begin, after[i].byte_begin);
  }
}

TEST_P(LineageTest, AStepBehindTheEndOfTheDataIsRefused) {
  for (auto& source : config_.data.sources) source.max_epochs = 1;
  const Corpus corpus = open_corpus(config_);
  const auto last = static_cast<std::int64_t>(corpus.training->schedule().sequences()) /
                    *config_.train.global_batch_size;
  EXPECT_FALSE(parts_of_step(config_, corpus, last).empty());
  EXPECT_THROW(parts_of_step(config_, corpus, last + 1), InputError);
  EXPECT_THROW(parts_of_step(config_, corpus, 0), InputError);
}

// The ranks of a step share what is told of all of it, however it is balanced.
TEST_P(LineageTest, TheRanksOfAStepTakeAllOfIt) {
  const auto keys = [](const std::vector<ReadPart>& parts) {
    std::multiset<std::string> all;
    for (const ReadPart& p : parts) {
      all.insert(
          fmt::format("{} {} {} {} {}", p.sequence, p.offset, p.source, p.document, p.byte_begin));
    }
    return all;
  };
  config_.train.global_batch_size = 12;
  for (const config::Balance balance :
       {config::Balance::round_robin, config::Balance::greedy, config::Balance::karmarkar_karp}) {
    config_.data.balance = balance;
    for (const std::int64_t ranks : {1, 2, 3}) {
      std::vector<ReadPart> all;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const auto parts = parts_of_rank(config_, corpus_, 5, {rank, ranks, 2});
        std::set<std::int64_t> sequences;
        for (const ReadPart& part : parts) sequences.insert(part.sequence);
        EXPECT_EQ(sequences.size(), static_cast<std::size_t>(12 / ranks));
        all.insert(all.end(), parts.begin(), parts.end());
      }
      EXPECT_EQ(keys(all), keys(parts_of_step(config_, corpus_, 5))) << ranks << " ranks";
    }
  }
  EXPECT_THROW(parts_of_rank(config_, corpus_, 5, {0, 5, 2}), InputError);
  EXPECT_THROW(parts_of_rank(config_, corpus_, 5, {2, 2, 2}), InputError);
}

INSTANTIATE_TEST_SUITE_P(Packings, LineageTest, ::testing::Values("best_fit", "concatenate"));

}  // namespace
}  // namespace bessemer::train

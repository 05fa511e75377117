// Runs whose corpus is tokenized as it is read.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "train/corpus.h"
#include "train/lineage.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

class RawSourceTest : public ::testing::Test {
 protected:
  RawSourceTest() {
    tokenizer_ = place_.path() / "tokenizer.json";
    fs::copy_file(train::prepare_corpus(place_.config("ahead", 1)).tokenizer_path, tokenizer_);
    std::string text;  // two blocks
    for (int d = 0; text.size() < (3u << 19); ++d) {
      for (int line = 0; line <= d % 7; ++line) {
        text +=
            fmt::format("The {} sheep of the {}th shepherd went over hill {}.\n", line, d % 13, d);
      }
      text += "<|endoftext|>\n";
    }
    write_file_atomically(place_.path() / "raw.txt", text);
  }

  // Two raw sources: the text, and it again under another name.
  config::RunConfig config(const std::string& name, int steps) const {
    config::RunConfig made = place_.config(name, steps);
    made.data.vocabulary.reset();
    made.data.tokenizer = tokenizer_;
    made.data.cache = place_.path() / "raw";
    made.data.sources.front().path = place_.path() / "raw.txt";
    made.data.sources.front().tokenize = config::Tokenize::on_the_fly;
    made.data.sources.push_back(made.data.sources.front());
    made.data.sources.back().name = "again";
    made.data.sources.back().weight = 0.5;
    return made;
  }

  RunPlace place_;
  fs::path tokenizer_;
};

std::vector<double> losses_of(const fs::path& run) {
  std::vector<double> losses;
  for (const auto& step : metrics_of(run)) losses.push_back(step.at("loss"));
  return losses;
}

TEST_F(RawSourceTest, AResumedRunIsTheUninterruptedOne) {
  ASSERT_EQ(train::train(config("whole", 9), {}), RunEnd::done);
  const std::vector<double> whole = losses_of(place_.run("whole"));
  ASSERT_EQ(whole.size(), 9u);
  const checkpoint::Checkpoint a(checkpoint::checkpoint_path(place_.run("whole"), 9));
  for (const std::int64_t step : {6, 3}) {  // with what was learned of the sources, and without
    const std::string name = fmt::format("from{}", step);
    const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("whole"), step)};
    if (step == 3) fs::remove_all(place_.path() / "raw");
    ASSERT_EQ(train::train(config(name, 9), from), RunEnd::done);
    const std::vector<double> rest = losses_of(place_.run(name));
    ASSERT_EQ(rest.size(), static_cast<std::size_t>(9 - step));
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + step));
    const checkpoint::Checkpoint b(checkpoint::checkpoint_path(place_.run(name), 9));
    for (const std::string& tensor : a.names()) {
      const auto x = checkpoint::get(a, tensor), y = checkpoint::get(b, tensor);
      EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0) << tensor;
    }
  }
}

TEST_F(RawSourceTest, WhatWasReadIsTold) {
  const config::RunConfig made = config("told", 3);
  const train::Corpus corpus = train::prepare_corpus(made);
  ASSERT_EQ(corpus.sources.size(), 2u);
  ASSERT_EQ(corpus.validation.size(), 2u);
  EXPECT_GT(corpus.sources[0].raw->source().table().blocks.size(), 1u);
  std::vector<std::int32_t> tokens(16), targets(16), positions(16), visibility(32);
  for (std::int64_t step = 1; step <= 20; ++step) {
    for (const train::ReadPart& part : train::parts_of_step(made, corpus, step)) {
      const auto index = static_cast<std::uint64_t>((step - 1) * 4 + part.sequence);
      corpus.training->read(index, {tokens, targets, positions, visibility});
      std::vector<std::int32_t> ids(tokens.begin() + part.offset,
                                    tokens.begin() + part.offset + part.tokens);
      if (ids.back() == corpus.tokenizer->end_of_text()) ids.pop_back();
      const std::string text = read_file(part.file).substr(part.file_offset);
      EXPECT_EQ(corpus.tokenizer->decode(ids),
                text.substr(part.byte_begin, part.byte_end - part.byte_begin));
    }
  }
  const train::Corpus opened = train::open_corpus(made);
  EXPECT_EQ(train::parts_of_step(made, opened, 7).front().document,
            train::parts_of_step(made, corpus, 7).front().document);
}

TEST_F(RawSourceTest, EpochsAreLimited) {
  config::RunConfig made = config("limited", 3);
  for (auto& source : made.data.sources) source.max_epochs = 1.5;
  const train::Corpus corpus = train::prepare_corpus(made);
  std::uint64_t all = 0;
  for (const auto& source : corpus.sources) all += (3 * source.epoch() + 1) / 2;
  EXPECT_EQ(corpus.training->schedule().sequences(), all);
  made.train.steps = 1 << 24;
  try {
    train::prepare_corpus(made);
    FAIL() << "the data ends before";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("max_epochs"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace bessemer::testing

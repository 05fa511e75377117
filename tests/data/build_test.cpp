#include "data/build.h"

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/parallel.h"
#include "data/indexed_dataset.h"
#include "data/random_text.h"
#include "data/data_directory.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

std::string numbered_lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text.append("line number ").append(std::to_string(i)).append("\n");
  return text;
}

class BuildTest : public testing::Test {
 protected:
  BuildTest() {
    long_text_ = numbered_lines(200000);  // cut into several pieces
    input_.write("long.txt", long_text_);
    input_.write("two.txt", "first document\n<|endoftext|>\nsecond <|endoftext|> here");
    options_.sources = {{"long", (input_.path() / "long.txt").string()},
                        {"two", (input_.path() / "two.txt").string()}};
    options_.directory = output_.path() / "built";
    options_.vocabulary = 400;
  }

  static std::string text_of(const BuiltCorpus& built, std::size_t source, std::uint64_t document) {
    const Tokenizer tokenizer = load_tokenizer(built.tokenizer);
    const auto data = IndexedDataset::open(built.sources[source].prefix);
    std::vector<std::int32_t> ids(data.length(document));
    data.read(document, 0, ids);
    EXPECT_EQ(ids.back(), tokenizer.end_of_text());
    ids.pop_back();
    EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.end_of_text()), 0);
    return tokenizer.decode(ids);
  }

  DataDirectory input_, output_;
  std::string long_text_;
  BuildOptions options_;
};

TEST_F(BuildTest, TheTokensAreTheText) {
  std::uint64_t last = 0;
  options_.progress = [&](const BuildProgress& progress) {
    EXPECT_LE(progress.done, progress.total);
    last = progress.done;
  };
  const BuiltCorpus built = build_corpus(options_);
  EXPECT_EQ(built.sources[0].documents, 1u);
  EXPECT_EQ(built.sources[1].documents, 2u);
  EXPECT_EQ(built.sources[0].bytes, long_text_.size());
  EXPECT_TRUE(text_of(built, 0, 0) == long_text_);
  EXPECT_EQ(text_of(built, 1, 0), "first document\n");
  EXPECT_EQ(text_of(built, 1, 1), "second <|endoftext|> here");
  EXPECT_GT(last, 0u);
  // Cut or whole, on one thread or several: the same tokens.
  const Tokenizer tokenizer = load_tokenizer(built.tokenizer);
  const auto whole = tokenizer.encode(long_text_, AddedTokens::as_text);
  EXPECT_EQ(built.sources[0].tokens, whole.size() + 1);
}

TEST_F(BuildTest, ASecondRunMakesOnlyWhatChanged) {
  build_corpus(options_);
  BuiltCorpus again = build_corpus(options_);
  EXPECT_TRUE(again.sources[0].reused && again.sources[1].reused);
  EXPECT_EQ(again.sources[1].documents, 2u);

  // With a tokenizer that is given, a changed source leaves the other alone.
  options_.tokenizer = output_.path() / "given.json";
  std::filesystem::copy_file(again.tokenizer, *options_.tokenizer);
  build_corpus(options_);
  input_.write("two.txt", "something else");
  again = build_corpus(options_);
  EXPECT_TRUE(again.sources[0].reused);
  EXPECT_FALSE(again.sources[1].reused);
  EXPECT_EQ(text_of(again, 1, 0), "something else");

  std::filesystem::resize_file(bin_path(again.sources[0].prefix), 10);
  again = build_corpus(options_);
  EXPECT_FALSE(again.sources[0].reused);
  EXPECT_TRUE(text_of(again, 0, 0) == long_text_);

  std::filesystem::remove(options_.directory / "manifest.json");
  input_.write("manifest.json", "{broken");
  std::filesystem::copy_file(input_.path() / "manifest.json", options_.directory / "manifest.json");
  EXPECT_FALSE(build_corpus(options_).sources[0].reused);
}

TEST_F(BuildTest, TwoBuildsGiveTheSameBytes) {
  const BuiltCorpus first = build_corpus(options_);
  options_.directory = output_.path() / "other";
  const int threads = thread_count();
  set_thread_count(threads == 1 ? 2 : 1);
  const BuiltCorpus second = build_corpus(options_);
  set_thread_count(threads);
  EXPECT_EQ(read_file(first.tokenizer), read_file(second.tokenizer));
  for (std::size_t s = 0; s < 2; ++s) {
    EXPECT_EQ(read_file(bin_path(first.sources[s].prefix)),
              read_file(bin_path(second.sources[s].prefix)));
    EXPECT_EQ(read_file(idx_path(first.sources[s].prefix)),
              read_file(idx_path(second.sources[s].prefix)));
  }
}

TEST_F(BuildTest, MistakesLeaveWhatWasThere) {
  build_corpus(options_);
  const std::string before = read_file(options_.directory / "long.bin");
  const BuildOptions good = options_;
  const auto message = [&](auto change) {
    BuildOptions bad = good;
    change(bad);
    const std::string text = input_error_of([&] { build_corpus(bad); });
    EXPECT_EQ(read_file(good.directory / "long.bin"), before);
    EXPECT_TRUE(build_corpus(good).sources[0].reused) << text;
    return text;
  };
  const auto json = input_.write("bad.jsonl", "{\"text\": \"x\"}\n{oops\n").string();
  const auto path = (input_.path() / "two.txt").string();
  EXPECT_NE(message([](auto& o) { o.sources.clear(); }), "");
  EXPECT_NE(message([](auto& o) { o.sources[0].path += ".none"; }), "");
  EXPECT_NE(message([](auto& o) { o.sources[0].name = "../x"; }), "");
  EXPECT_NE(message([](auto& o) { o.sources[0].name = "\xff"; }), "");
  EXPECT_NE(message([](auto& o) { o.sources[0].name = "two"; }), "");
  EXPECT_NE(message([](auto& o) { o.vocabulary = 10; }), "");
  EXPECT_NE(message([&](auto& o) { o.tokenizer = path; }).find("not valid JSON"),
            std::string::npos);
  EXPECT_NE(message([&](auto& o) { o.sources[0].path = json; }).find("bad.jsonl:2"),
            std::string::npos);
}

TEST_F(BuildTest, BytesThatAreNotText) {
  const std::string bytes = random_bytes(1, 300000) + random_fragments(2, 5000, true);
  input_.write("bytes.bin", bytes);
  options_.sources = {{"bytes", (input_.path() / "bytes.bin").string()}};
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern}) {
    options_.pattern = pattern;
    EXPECT_TRUE(text_of(build_corpus(options_), 0, 0) == bytes);
  }
}

}  // namespace
}  // namespace bessemer::data

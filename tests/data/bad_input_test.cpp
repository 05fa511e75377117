// Whatever lies in the files of a corpus: a message with the file and the place, or documents.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "data/build.h"
#include "data/compressed.h"
#include "data/data_directory.h"
#include "data/indexed_dataset.h"
#include "data/random_text.h"

namespace bessemer::data {
namespace {

using std::string_literals::operator""s;

class BadInputTest : public testing::Test {
 protected:
  BuildOptions options(const std::filesystem::path& path) const {
    BuildOptions made;
    made.sources = {{"s", path.string()}};
    made.directory = directory_.path() / "built";
    made.vocabulary = 270;
    return made;
  }

  DataDirectory directory_;
};

const std::string kRow = "{\"text\": \"a row of text\"}\n";
const std::string kTalk =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, "
    "{\"role\": \"assistant\", \"content\": \"a\"}]}\n";

// Stops with this message; where bad records are skipped, so many documents are left (0: it stops
// there too).
TEST_F(BadInputTest, IsNamedOrSkipped) {
  const std::string text = random_fragments(1, 3000, true), gz = gzip(text), zst = zstd(text);
  const struct {
    std::string name, bytes, message;
    std::uint64_t left;
  } rows[] = {
      {"cut.txt.gz", gz.substr(0, gz.size() / 2), "cut.txt.gz: byte ", 0},
      {"cut.txt.zst", zst.substr(0, zst.size() - 3), "cut.txt.zst: byte ", 0},
      {"text.txt.gz", "this is no gzip", "text.txt.gz: byte ", 0},
      {"text.txt.zst", "this is no zstd", "text.txt.zst: byte ", 0},
      {"gz-in.jsonl.gz", gzip(kRow + "{\"text\": 1}\n"), "gz-in.jsonl.gz:2: column 10", 1},
      {"type.jsonl", kRow + "{\"text\": {\"text\": \"x\"}}\n" + kRow, "type.jsonl:2: column 10", 2},
      {"null.jsonl", kRow + "{\"text\": null}\n" + kRow, "null.jsonl:2: column 10", 2},
      {"list.jsonl", kRow + "[\"text\"]\n" + kRow, "list.jsonl:2: column 1", 2},
      {"string.jsonl", kRow + "{\"text\": \"never closed\n" + kRow, "string.jsonl:2: column ", 2},
      {"escape.jsonl", kRow + "{\"text\": \"\\q\"}\n" + kRow, "escape.jsonl:2: column 12", 2},
      {"nul.jsonl", kRow + "\0\n"s + kRow, "nul.jsonl:2: column 1", 2},
      {"bytes.jsonl", kRow + random_bytes(2, 200) + "\n" + kRow, "bytes.jsonl:", 2},
      {"text.jsonl", kTalk + kRow, "text.jsonl:2: column 1", 1},
      {"talk.jsonl", kRow + kTalk, "talk.jsonl:2: column 1", 1},
      {"role.jsonl", kTalk + "{\"messages\": [{}]}\n" + kTalk, "role.jsonl:2: column 15", 2},
      {"deep.jsonl", kRow + "{\"a\": " + std::string(1 << 16, '[') + "\n" + kRow,
       "deep.jsonl:2: column ", 2},
      {"empty.txt", "", "empty.txt: no documents", 0},
      {"lines.jsonl", "\n \n\r\n", "lines.jsonl: no documents", 0},
      {"empty.txt.gz", "", "empty.txt.gz: no documents", 0},
      {"separators.txt", "<|endoftext|>\n<|endoftext|>", "separators.txt: no documents", 0},
      {"none.jsonl", "{\"text\": \"\"}\n", "none.jsonl: no documents", 0},
  };
  for (const auto& row : rows) {
    BuildOptions made = options(directory_.write(row.name, row.bytes));
    const std::string message = input_error_of([&] { build_corpus(made); });
    EXPECT_NE(message.find(row.message), std::string::npos) << row.name << ": " << message;
    made.on_bad_record = OnBadRecord::skip;
    if (row.left == 0) {
      EXPECT_NE(input_error_of([&] { build_corpus(made); }), "") << row.name;
    } else {
      EXPECT_EQ(build_corpus(made).sources[0].documents, row.left) << row.name;
    }
  }
}

TEST_F(BadInputTest, BytesOfAnyKindAreText) {
  const struct {
    std::string name, bytes;
    std::uint64_t documents, text;
  } rows[] = {
      {"utf.txt", "\xff\xfe not \xc3 UTF-8 \xed\xa0\x80", 1, 18},
      {"nul.txt", std::string(1000, '\0'), 1, 1000},
      {"line.txt", std::string(300000, 'x'), 1, 300000},
      {"words.jsonl", "{\"text\": \"" + std::string(300000, 'y') + "\"}", 1, 300000},
      {"raw.jsonl", "{\"text\": \"\xff\x01\"}", 1, 2},
      {"two.txt.gz", gzip("a\n<|endoftext|>\n") + gzip("b"), 2, 3},
  };
  for (const auto& row : rows) {
    const BuiltCorpus built = build_corpus(options(directory_.write(row.name, row.bytes)));
    EXPECT_EQ(built.sources[0].documents, row.documents) << row.name;
    EXPECT_EQ(built.sources[0].bytes, row.text) << row.name;
  }
}

TEST_F(BadInputTest, PathsThatHoldNothing) {
  std::filesystem::create_directories(directory_.path() / "folder/inside");
  directory_.write("hidden/.file", "x");
  for (const char* path :
       {"folder", "folder/**/*.txt", "hidden", "nowhere", "folder/[", "*.none"}) {
    const std::string message =
        input_error_of([&] { build_corpus(options(directory_.path() / path)); });
    EXPECT_NE(message.find(path), std::string::npos) << message;
  }
}

TEST_F(BadInputTest, WhatMayNotBeRead) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may read all";
  const auto file = directory_.write("secret.txt", "x");
  std::filesystem::permissions(file, std::filesystem::perms::none);
  EXPECT_NE(input_error_of([&] { build_corpus(options(file)); }).find("secret.txt: cannot open"),
            std::string::npos);
  directory_.write("closed/x.txt", "x");
  std::filesystem::permissions(directory_.path() / "closed", std::filesystem::perms::none);
  EXPECT_NE(input_error_of([&] {
              build_corpus(options(directory_.path() / "closed"));
            }).find("closed: cannot list"),
            std::string::npos);
  std::filesystem::permissions(directory_.path() / "closed", std::filesystem::perms::owner_all);
}

}  // namespace
}  // namespace bessemer::data

#include "data/source.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/jsonl.h"
#include "data/word_pattern.h"
#include "data/random_text.h"
#include "data/compressed.h"
#include "data/data_directory.h"

namespace bessemer::data {
namespace {

using Strings = std::vector<std::string>;
using std::string_literals::operator""s;

Strings documents_of(const std::vector<std::filesystem::path>& files, std::size_t piece = 0) {
  DocumentReader reader(files, {"text", piece});
  Strings documents;
  bool open = false;
  for (Piece next; reader.next(next); open = !next.ends_document) {
    open ? documents.back() += next.text : documents.emplace_back(next.text);
  }
  EXPECT_FALSE(open);
  EXPECT_EQ(reader.documents(), documents.size());
  EXPECT_EQ(reader.bytes_done(), reader.bytes_total());
  return documents;
}

TEST(Source, TextIsOneDocumentOrSeparated) {
  const DataDirectory directory;
  const struct {
    std::string text;
    Strings documents;
  } rows[] = {
      {"one\n\ntwo", {"one\n\ntwo"}},
      {"a\n<|endoftext|>\nb\n", {"a\n", "b\n"}},
      {"a\r\n<|endoftext|>\r\nb", {"a\r\n", "b"}},
      {"<|endoftext|>\n\n<|endoftext|>\n<|endoftext|>", {"\n"}},
      {"a <|endoftext|>\n<|endoftext|> b", {"a <|endoftext|>\n<|endoftext|> b"}},
      {"nul \0 and \xff bytes"s, {"nul \0 and \xff bytes"s}},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(documents_of({directory.write("t.txt", row.text)}), row.documents) << row.text;
  }
}

TEST(Source, JsonLines) {
  const DataDirectory directory;
  const struct {
    std::string line, text;
  } rows[] = {
      {R"({"text": "plain"})", "plain"},
      {R"({"id": [1, {"text": "inner"}], "text": "outer", "n": -1.5e+3, "z": null})", "outer"},
      {R"({"text": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"})",
       "\"\\/\b\f\n\r\t\u00e9\U0001f600\0"s},
      {R"({"text": "\ud83d lone \ude00\ud83d\u0041"})", "\ufffd lone \ufffd\ufffdA"},
      {"{\"text\": \"raw \xff \x01 \t bytes\"}", "raw \xff \x01 \t bytes"},
      {" { \"text\" : \"spaces\" } \r", "spaces"},
      {R"({"te\u0078t": "escaped key"})", "escaped key"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(documents_of({directory.write("t.jsonl", row.line + "\n\n")}), Strings{row.text});
  }
  const auto both =
      directory.write("both.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\"}\n{\"text\":\"b\"}");
  EXPECT_EQ(documents_of({both}), (Strings{"a", "b"}));
}

TEST(Source, BrokenLinesAreSkippedWhereAsked) {
  const DataDirectory directory;
  const auto first =
      directory.write("a.jsonl",
                      "{\"text\": \"one\"}\n{\"text\": \"half\nnoise\n{\"text\": 7}\n"
                      "{\"text\": \"two\"}\n");
  const auto second = directory.write("b.jsonl", "{}\n{\"text\": \"three\"}");
  ReaderOptions options;
  options.on_bad_record = OnBadRecord::skip;
  DocumentReader reader({first, second}, options);
  Strings documents;
  std::vector<std::uint64_t> offsets;
  for (Piece piece; reader.next(piece);) {
    documents.push_back(piece.text);
    offsets.push_back(piece.place.offset);
  }
  EXPECT_EQ(documents, (Strings{"one", "two", "three"}));
  EXPECT_EQ(offsets, (std::vector<std::uint64_t>{0, 49, 3}));
  EXPECT_EQ(reader.bad_records(), 4u);
}

TEST(Source, ABrokenLineIsNamed) {
  const DataDirectory directory;
  for (const std::string line :
       {"{", "[]", "{\"text\": 3}", "{\"other\": \"x\"}", "{\"text\": \"x\"} y", "{\"text\": \"x",
        "{\"text\": \"\\x\"}", "{\"text\": \"\\u12g4\"}", "{\"a\": tru, \"text\": \"x\"}",
        "{\"a\": [1,], \"text\": \"x\"}", "{\"a\": 01, \"text\": \"x\"}", "{\"text\": \"x\",}",
        "{\"a\" 1}", "{\"a\": -, \"text\": \"x\"}", "{\"a\": {1: 2}}", "plain text"}) {
    const auto file = directory.write("bad.jsonl", "{\"text\": \"good\"}\n" + line + "\n");
    const std::string message = input_error_of([&] { documents_of({file}); });
    EXPECT_NE(message.find("bad.jsonl:2: column "), std::string::npos) << line << ": " << message;
  }
  std::string deep = "{\"a\": " + std::string(100000, '[') + "1";
  std::string text;
  EXPECT_THROW(read_json_text(deep, "text", text), JsonLineError);
}

TEST(Source, CompressedFilesReadTheSame) {
  const DataDirectory directory;
  const std::string a = random_fragments(1, 300000, true), b = random_bytes(2, 100000);
  const struct {
    std::string name, bytes, expected;
  } rows[] = {
      {"x.txt.gz", gzip(a), a},
      {"two.txt.gz", gzip(a) + gzip(b), a + b},
      {"x.txt.zst", zstd(a), a},
      {"two.txt.zst", zstd(a) + zstd(b), a + b},
      {"x.jsonl.gz", gzip("{\"text\":\"hello\"}\n"), "hello"},
      {"x.jsonl.zst", zstd("{\"text\":\"hello\"}\n"), "hello"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(documents_of({directory.write(row.name, row.bytes)}), Strings{row.expected})
        << row.name;
  }
}

TEST(Source, DamagedCompressionIsNamed) {
  const DataDirectory directory;
  const std::string text = random_bytes(3, 50000);
  for (const std::string extension : {".gz", ".zst"}) {
    const std::string whole = extension == ".gz" ? gzip(text) : zstd(text);
    std::string flipped = whole;
    flipped[0] = static_cast<char>(flipped[0] ^ 1);
    for (const std::string& bytes :
         {whole.substr(0, whole.size() / 2), whole.substr(0, whole.size() - 1), flipped}) {
      const auto file = directory.write("d.txt" + extension, bytes);
      const std::string message = input_error_of([&] { documents_of({file}); });
      EXPECT_NE(message.find("d.txt" + extension + ": byte "), std::string::npos) << message;
    }
  }
}

TEST(Source, PathsAreFilesDirectoriesAndGlobs) {
  const DataDirectory directory;
  for (const char* name :
       {"b.txt", "a.txt", ".hidden", "sub/c.txt", "sub/deep/d.md", ".git/x.txt"}) {
    directory.write(name, "x");
  }
  const auto names = [&](const std::string& path) {
    Strings found;
    for (const auto& file : expand_path((directory.path() / path).string())) {
      found.push_back(file.lexically_relative(directory.path()).string());
    }
    return found;
  };
  EXPECT_EQ(names("a.txt"), Strings{"a.txt"});
  EXPECT_EQ(names(""), (Strings{"a.txt", "b.txt", "sub/c.txt", "sub/deep/d.md"}));
  EXPECT_EQ(names("*.txt"), (Strings{"a.txt", "b.txt"}));
  EXPECT_EQ(names("[b-z].txt"), Strings{"b.txt"});
  EXPECT_EQ(names("**/*.txt"), (Strings{"a.txt", "b.txt", "sub/c.txt"}));
  EXPECT_EQ(names("s?b/**/*.md"), Strings{"sub/deep/d.md"});
  for (const char* nothing : {"none.txt", "*.none", "none/"}) {
    EXPECT_THROW(names(nothing), InputError) << nothing;
  }
}

TEST(Source, EmptyFilesAreSkippedAndNothingAtAllIsAnError) {
  const DataDirectory directory;
  const auto empty = directory.write("empty.txt", ""), lines = directory.write("e.jsonl", "\n\n");
  EXPECT_EQ(documents_of({empty, directory.write("x.txt", "x"), lines}), Strings{"x"});
  const std::string message = input_error_of([&] { documents_of({empty, lines}); });
  EXPECT_NE(message.find("empty.txt and 1 more: no documents"), std::string::npos) << message;
}

// Cutting changes neither the documents nor their words.
TEST(Source, PiecesAreCutWhereNoWordCrosses) {
  const DataDirectory directory;
  std::string text;
  for (std::uint64_t i = 0; i < 300; ++i) {
    text += random_fragments(i, 30, true) + (i % 3 == 0 ? "x\ny" : "\n");
  }
  const auto file = directory.write("t.txt", text);
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern, kQwen2Pattern}) {
    const WordPattern pretokenizer{std::string(pattern)};
    const auto words_of = [&](const std::string& piece, Strings& words) {
      WordPattern::Words split(pretokenizer);
      split.start(piece);
      for (std::string_view word; split.next(word);) words.emplace_back(word);
    };
    Strings whole, parts;
    words_of(text, whole);
    DocumentReader reader({file}, {"text", 64});
    int pieces = 0;
    for (Piece piece; reader.next(piece); ++pieces) words_of(piece.text, parts);
    EXPECT_GT(pieces, 50);
    EXPECT_EQ(whole, parts);
  }
  EXPECT_EQ(documents_of({file}, 64), Strings{text});
}

TEST(Source, OneLineOfAHundredMegabytes) {
  const DataDirectory directory;
  std::string line;
  while (line.size() < (100u << 20)) line += "never a line break in it ";
  const auto text = directory.write("long.txt", line);
  EXPECT_TRUE(documents_of({text}, 1 << 20) == Strings{line});
  const auto json = directory.write("long.jsonl", "{\"text\": \"" + line + "\"}");
  EXPECT_TRUE(documents_of({json}, 1 << 20) == Strings{line});
}

}  // namespace
}  // namespace bessemer::data

#include "data/chunk_reader.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "data/data_directory.h"

namespace bessemer::data {
namespace {

using Texts = std::vector<std::string>;

/// The documents of one file, read as a whole.
Texts documents_of(const std::filesystem::path& path) {
  StreamReader reader(open_stream(path), path.string(), format_of(path), {});
  Texts documents;
  for (Piece piece; reader.next(piece);) documents.push_back(piece.text);
  return documents;
}

/// The documents of one file, put together again from its chunks.
class Chunks {
 public:
  Chunks(const std::filesystem::path& path, std::size_t bytes, bool cut)
      : path_(path), bytes_(bytes), cut_(cut) {}

  /// With a new reader for every chunk where `restarts`.
  Texts read(bool restarts) {
    ChunkReader reader({path_}, {bytes_, cut_});
    while (!reader.at_end()) {
      if (restarts) {
        ChunkReader other({path_}, {bytes_, cut_});
        other.go_to(reader.cursor());
        EXPECT_EQ(other.cursor(), reader.cursor());
        reader = std::move(other);
      }
      const bool within = reader.cursor().within;
      for (const Segment& segment : reader.next()) add(segment, within);
      ++count_;
    }
    return documents_;
  }
  int count() const { return count_; }

 private:
  void add(const Segment& segment, bool begins_within) {
    StreamReader reader(memory_stream(segment.bytes), "chunk", format_of(path_), {}, segment.start);
    bool first = true;
    for (Piece piece; reader.next(piece); first = false) {
      if (first && begins_within) {
        documents_.back() += piece.text;
      } else {
        documents_.push_back(piece.text);
        std::string all = read_file(path_);
        if (format_of(path_) == Format::text) {
          EXPECT_EQ(all.compare(piece.place.offset, piece.text.size(), piece.text), 0);
        } else {
          EXPECT_EQ(all[piece.place.offset],
                    piece.place.offset > 0 || all[0] == '{' ? '{' : '\xEF');
        }
      }
    }
  }

  std::filesystem::path path_;
  std::size_t bytes_;
  bool cut_;
  Texts documents_;
  int count_ = 0;
};

std::string random_text(std::uint64_t seed) {
  static const Texts kLines{"a\n",      "word and word\n",   "\n",    "<|endoftext|>\n",
                            "\u00e9\n", "<|endoftext|>\r\n", "x\r\n", "<|endoftext|>more\n",
                            " in\n",    "at <|endoftext|>\n"};
  const CounterRng random(seed, 0, 0);
  std::string text;
  for (std::uint64_t i = 0; i < 60; ++i) text += kLines[random.word(i) % kLines.size()];
  if (seed % 3 == 0) text += "no newline at the end";
  if (seed % 5 == 0) text += "\n<|endoftext|>";
  return text;
}

std::string random_jsonl(std::uint64_t seed) {
  const CounterRng random(seed, 0, 0);
  std::string text = seed % 2 == 0 ? "\xEF\xBB\xBF" : "";
  for (std::uint64_t i = 0; i < 40; ++i) {
    const std::string word(random.word(i) % 30, 'w');
    text += random.word(100 + i) % 5 == 0 ? "\n" : "{\"text\": \"" + word + "\"}\n";
  }
  return text;
}

TEST(ChunkReader, ChunksAreTheWhole) {
  const DataDirectory directory;
  int chunks = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    for (const auto& path : {directory.write("a.txt", random_text(seed)),
                             directory.write("b.jsonl", random_jsonl(seed))}) {
      const Texts expected = documents_of(path);
      for (const std::size_t bytes : {1, 7, 40, 300, 5000}) {
        for (const bool cut : {true, false}) {
          Chunks chunked(path, bytes, cut);
          ASSERT_EQ(chunked.read(seed % 2 == 1), expected) << path << " " << seed << " " << bytes;
          chunks += chunked.count();
        }
      }
    }
  }
  EXPECT_GT(chunks, 5000);
}

// What is read ahead does not show: a reader that begins in the middle goes on to the same places.
TEST(ChunkReader, PlacesDoNotDependOnWhereTheReaderBegan) {
  const DataDirectory directory;
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "line " + std::to_string(i) + " of the text\n";
  const auto path = directory.write("large.txt", text);
  std::vector<Cursor> cursors;
  for (ChunkReader reader({path}, {100'000, true}); !reader.at_end(); reader.next()) {
    cursors.push_back(reader.cursor());
  }
  ASSERT_GT(cursors.size(), 10u);
  for (std::size_t c = 0; c + 1 < cursors.size(); ++c) {
    ChunkReader reader({path}, {100'000, true});
    reader.go_to(cursors[c]);
    reader.next();
    EXPECT_EQ(reader.cursor(), cursors[c + 1]);
  }
}

TEST(ChunkReader, SmallFilesShareAChunk) {
  const DataDirectory directory;
  std::vector<std::filesystem::path> files;
  for (const char* name : {"a", "b", "c", "d"}) {
    files.push_back(directory.write(name, name == std::string("b") ? "" : "text\n"));
  }
  ChunkReader reader(files, {10, true});
  const auto first = reader.next();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[1].file, 2u);
  EXPECT_EQ(reader.cursor().consumed, 10u);
  EXPECT_EQ(reader.next().size(), 1u);
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(reader.cursor().consumed, 15u);
}

}  // namespace
}  // namespace bessemer::data

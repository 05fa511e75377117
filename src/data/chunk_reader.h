// Corpus files as chunks of bytes, which are tokenized apart from each other.
//
// A chunk ends behind a line, so that documents are cut nowhere else than where `find_cut` allows
// it, or not at all: behind any line of JSONL, behind a separator of a text, or between two lines
// of one document of a text. Where chunks end depends on the files alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/byte_stream.h"
#include "data/source.h"

namespace bessemer::data {

/// A place between two chunks: all before it is done.
struct Cursor {
  std::uint64_t file = 0;      // of the list; its size at the end
  std::uint64_t offset = 0;    // bytes of the file, uncompressed
  std::uint64_t lines = 0;     // of the file, in front of it
  std::uint64_t consumed = 0;  // bytes of all files, as stored: for progress, and about right
  bool within = false;         // a document, with text of it on both sides

  /// Of places; what was consumed depends on how they were reached.
  bool operator==(const Cursor& other) const {
    return file == other.file && offset == other.offset && lines == other.lines &&
           within == other.within;
  }
};

/// Lines of one file.
struct Segment {
  std::size_t file = 0;  // of the list
  StreamStart start;
  std::string bytes;
  bool ends_within = false;  // a document
};

struct ChunkOptions {
  std::size_t bytes = 0;      // of a chunk, or more where nothing can be cut; above 0
  bool cut_documents = true;  // of texts
};

/// For one thread. Every failure to read is an InputError that names the file.
class ChunkReader {
 public:
  ChunkReader(std::vector<std::filesystem::path> files, ChunkOptions options);

  /// The next chunk: several files where they are small. Empty where the files were. The end must
  /// not have been reached.
  std::vector<Segment> next();

  /// Goes on to a place that a reader of the same files had reached.
  void go_to(const Cursor& cursor);

  const Cursor& cursor() const { return cursor_; }
  bool at_end() const { return cursor_.file == files_.size(); }

 private:
  void open();
  void close();
  void fill(std::size_t bytes);
  Segment take(std::size_t bytes);
  struct Cut {
    std::size_t at = 0;
    bool within = false;  // a document
  };
  bool find(std::size_t from, Cut& cut) const;
  bool find_in_text(std::size_t from, Cut& cut) const;

  std::vector<std::filesystem::path> files_;
  ChunkOptions options_;
  Cursor cursor_;
  std::unique_ptr<ByteStream> stream_;  // of file cursor_.file; null: not open
  std::string buffer_;                  // what was read behind the cursor
  bool ended_ = false;                  // the stream
  std::uint64_t consumed_before_ = 0;   // bytes of the files before this one
};

}  // namespace bessemer::data

// Corpora: where the documents are and how they are read, one at a time, in bounded memory.
//
// A path is a file, a directory (every file below it whose name and folders do not start with a
// dot) or a glob (`*`, `?`, `[...]` within a folder name, `**` for any folders); always sorted,
// so that the order of documents does not depend on the machine. By name:
//
//   .jsonl .ndjson .json   one JSON object a line; the document is the string under `text_key`, or
//                          the conversation under "messages" as a template renders it (chat.h)
//   anything else          text: the whole file is one document, unless it has lines that consist
//                          solely of "<|endoftext|>": those separate documents (and belong to none)
//
// each plain, or compressed with a further .gz or .zst. Bytes are bytes: invalid UTF-8 and NUL are
// kept. Empty files and empty documents are skipped; a log line counts them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_stream.h"
#include "data/line_reader.h"
#include "data/record_parser.h"

namespace bessemer::data {

/// The files that `path` means, sorted. InputError where there are none.
std::vector<std::filesystem::path> expand_path(const std::string& path);

enum class Format { text, jsonl };

Format format_of(const std::filesystem::path& path);

/// Whether the first JSON object in the files has "messages" and no text under `text_key`.
bool holds_messages(const std::vector<std::filesystem::path>& files, std::string_view text_key);

// What readers of records share.

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// A place to cut `text` at or after `from`, as `ReaderOptions::piece_bytes` says: just behind a
/// newline. npos where there is none.
std::size_t find_cut(std::string_view text, std::size_t from);

/// Between documents of a text; a line that consists of it.
inline constexpr std::string_view kSeparator = "<|endoftext|>";
bool is_separator(std::string_view line);

bool is_blank(std::string_view line);

/// Where a document begins: its text, or the line of its JSON object.
struct Place {
  std::uint64_t offset = 0;  // bytes of the file, uncompressed
  std::uint32_t file = 0;    // of the corpus, counted from 0
};

/// A document, or a part of one. See `ReaderOptions::piece_bytes`.
struct Piece {
  std::string text;
  bool ends_document = true;
  Place place = {};                  // of the document
  std::vector<TextSpan> spans = {};  // of a conversation, which is always whole
};

struct ReaderOptions {
  std::string text_key = "text";

  /// Documents longer than this come in several pieces, cut only after a newline that stands
  /// between two ASCII characters that are not white space, the second no '/'. No word of the
  /// GPT-2, Llama 3, Qwen 2, cl100k and o200k patterns crosses such a place, so tokens of the
  /// pieces are the tokens of the whole. A document without such a place stays whole. 0: never cut.
  std::size_t piece_bytes = 0;

  OnBadRecord on_bad_record = OnBadRecord::stop;
  std::uint64_t bad_records_shown = 5;  // of a stream: skipped ones that have a log line each
  std::shared_ptr<const ChatTemplate> chat = nullptr;  // records are conversations
};

/// Where a stream begins in its file: at the start of a line.
struct StreamStart {
  std::uint64_t offset = 0;
  std::uint64_t lines = 0;  // in front of it
};

/// The documents of one stream. `name` is for messages.
class StreamReader {
 public:
  StreamReader(std::unique_ptr<ByteStream> stream, std::string name, Format format,
               ReaderOptions options, StreamStart start = {});

  /// The next piece; false at the end. Never gives an empty document. InputError names file:line.
  bool next(Piece& piece);

  std::uint64_t consumed() const { return lines_.consumed(); }
  std::uint64_t empty_documents() const { return empty_documents_; }
  std::uint64_t bad_records() const { return parser_.bad_records(); }

 private:
  bool next_text(Piece& piece);
  bool next_json(Piece& piece);
  bool next_line(std::string& line);
  bool take_cut(Piece& piece);
  void take_rest(Piece& piece);

  LineReader lines_;
  Format format_;
  std::size_t piece_bytes_;
  RecordParser parser_;
  std::uint64_t line_number_ = 0;
  std::uint64_t line_begin_ = 0, line_end_ = 0;  // of the line at hand, in the stream
  std::uint64_t document_begin_ = 0;
  std::uint64_t empty_documents_ = 0;
  std::string line_;  // with its newline
  std::vector<TextSpan> spans_;
  std::string document_;      // what was read of the current document ...
  std::size_t given_ = 0;     // ... and how much of that was given
  std::size_t searched_ = 0;  // no place to cut in front of here
  bool whole_ = false;        // JSONL: document_ is read to its end
};

/// The documents of several files, in order.
class DocumentReader {
 public:
  DocumentReader(std::vector<std::filesystem::path> files, ReaderOptions options = {});

  /// The next piece; false at the end. InputError at the end where no file had a document.
  bool next(Piece& piece);

  /// Bytes of the files (as stored) read so far, and in all: for progress.
  std::uint64_t bytes_done() const;
  std::uint64_t bytes_total() const { return bytes_total_; }
  std::uint64_t documents() const { return documents_; }
  std::uint64_t bad_records() const { return bad_records_; }  // of the files that are done

 private:
  void close_file();

  std::vector<std::filesystem::path> files_;
  ReaderOptions options_;
  std::size_t next_file_ = 0;
  std::unique_ptr<StreamReader> reader_;
  bool file_had_documents_ = false;
  std::uint64_t bytes_before_ = 0;
  std::uint64_t bytes_total_ = 0;
  std::uint64_t documents_ = 0;
  std::uint64_t bad_records_ = 0;
};

}  // namespace bessemer::data

// The records of a plain corpus file, not yet looked into: lines of JSONL that are not blank, or
// texts between lines "<|endoftext|>" (source.h).
//
// A text longer than `kLongestText` is cut where pieces of documents are cut: each part is a record
// of its own, so that what is read at a time stays small. From the first byte of a record on, a
// reader gives the records that one started earlier gives: a file can be read from there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/line_reader.h"
#include "data/source.h"

namespace bessemer::data {

struct Record {
  std::string text;
  std::uint64_t offset = 0;   // bytes of the file
  std::uint64_t line = 0;     // where it begins, counted from 1
  bool ends_document = true;  // false: the text goes on in the next record
};

class RecordReader {
 public:
  static constexpr std::size_t kLongestText = 1 << 20;

  enum class End { of_file, within_file };  // what the end of the stream is

  /// `stream` begins at byte `offset` of the file, in its line `line`.
  RecordReader(std::unique_ptr<ByteStream> stream, Format format, std::uint64_t offset,
               std::uint64_t line, End end);

  /// False at the end. Never gives an empty record.
  bool next(Record& record);

  /// Where the next record may begin at the earliest: nothing between the last one and here.
  std::uint64_t offset() const { return offset_; }
  std::uint64_t line() const { return line_; }

 private:
  bool next_line(std::string& text);
  bool next_json(Record& record);
  bool next_text(Record& record);
  bool take_cut(Record& record);

  LineReader lines_;
  Format format_;
  End end_kind_;
  std::uint64_t offset_, line_;            // of what was given so far
  std::uint64_t read_offset_, read_line_;  // of what was read
  std::string pending_;                    // of a text, from offset_ on
  std::size_t searched_ = 0;               // no place to cut in front of here
};

}  // namespace bessemer::data

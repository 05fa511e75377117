// A record of a corpus, as its file has it, made into a document.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/chat.h"
#include "data/jsonl.h"

namespace bessemer::data {

/// What to do with a record that is no document (a line that is no JSON object with a text, a
/// conversation that its template cannot render): end with its place and its mistake, or log these
/// (the first few), count it and go on.
enum class OnBadRecord { stop, skip };

struct RecordOptions {
  std::string text_key = "text";
  OnBadRecord on_bad_record = OnBadRecord::stop;
  std::uint64_t bad_records_shown = 5;       // skipped ones that have a log line each
  std::shared_ptr<const ChatTemplate> chat;  // records are conversations; null: texts
};

/// Reads lines of a JSONL file; `name` of the file is for messages. For one thread.
class RecordParser {
 public:
  RecordParser(std::string name, RecordOptions options)
      : name_(std::move(name)), options_(std::move(options)) {}

  /// The document of a line, which begins at byte `offset`. False where the record is bad and bad
  /// ones are skipped; InputError names file:line where they are not.
  bool parse(std::string_view line, std::uint64_t line_number, std::uint64_t offset,
             std::string& text, std::vector<TextSpan>& spans);

  std::uint64_t bad_records() const { return bad_records_; }

 private:
  void read(std::string_view line, std::string& text, std::vector<TextSpan>& spans);

  std::string name_;
  RecordOptions options_;
  std::vector<Message> messages_;
  std::uint64_t bad_records_ = 0;
};

}  // namespace bessemer::data

#include "data/record_reader.h"

#include <algorithm>
#include <utility>

namespace bessemer::data {

RecordReader::RecordReader(std::unique_ptr<ByteStream> stream, Format format, std::uint64_t offset,
                           std::uint64_t line, End end)
    : lines_(std::move(stream)),
      format_(format),
      end_kind_(end),
      offset_(offset),
      line_(line),
      read_offset_(offset),
      read_line_(line) {}

bool RecordReader::next(Record& record) {
  return format_ == Format::jsonl ? next_json(record) : next_text(record);
}

bool RecordReader::next_line(std::string& text) {
  const std::size_t before = text.size();
  if (!lines_.append_next(text)) return false;
  read_offset_ += text.size() - before;
  ++read_line_;
  return true;
}

bool RecordReader::next_json(Record& record) {
  while (true) {
    record.text.clear();
    record.offset = read_offset_;
    record.line = read_line_;
    const bool more = next_line(record.text);
    offset_ = read_offset_;
    line_ = read_line_;
    if (!more) return false;
    if (record.offset == 0 && record.text.starts_with(kByteOrderMark)) record.text.erase(0, 3);
    if (!is_blank(record.text)) return true;
  }
}

/// Gives a front part of the text where it is long enough and can be cut.
bool RecordReader::take_cut(Record& record) {
  if (pending_.size() <= kLongestText) return false;
  const std::size_t cut = find_cut(pending_, std::max(searched_, kLongestText - 1));
  if (cut == std::string::npos) {
    searched_ = pending_.size() - 1;  // its last character may yet become a cut
    return false;
  }
  record = {pending_.substr(0, cut), offset_, line_, false};
  pending_.erase(0, cut);
  searched_ = 0;
  offset_ += cut;
  line_ += static_cast<std::uint64_t>(std::count(record.text.begin(), record.text.end(), '\n'));
  return true;
}

bool RecordReader::next_text(Record& record) {
  while (true) {
    if (take_cut(record)) return true;
    const std::size_t before = pending_.size();
    const bool more = next_line(pending_);
    if (more && !is_separator(std::string_view(pending_).substr(before))) continue;
    pending_.resize(before);
    record = {std::exchange(pending_, {}), offset_, line_, more || end_kind_ == End::of_file};
    searched_ = 0;
    offset_ = read_offset_;
    line_ = read_line_;
    if (!record.text.empty()) return true;
    if (!more) return false;
  }
}

}  // namespace bessemer::data

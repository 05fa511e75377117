#include "data/chunk_reader.h"

#include <algorithm>
#include <utility>

namespace bessemer::data {
namespace {

constexpr std::size_t kReadBytes = 1 << 18;

/// Whether the line of `text` that ends with the newline at `end` is a separator. `text` begins
/// with a line.
bool separator_ends_at(std::string_view text, std::size_t end) {
  constexpr std::size_t kLongest = kSeparator.size() + 1;  // with a carriage return
  const std::size_t from = end > kLongest ? end - kLongest - 1 : 0;
  std::string_view line = text.substr(from, end - from);
  if (const auto before = line.rfind('\n'); before != line.npos)
    line.remove_prefix(before + 1);
  else if (from > 0)
    return false;  // it begins further in front
  return is_separator(line);
}

}  // namespace

ChunkReader::ChunkReader(std::vector<std::filesystem::path> files, ChunkOptions options)
    : files_(std::move(files)), options_(options) {}

void ChunkReader::open() {
  stream_ = open_stream(files_[cursor_.file]);
  stream_->skip(cursor_.offset);
  ended_ = false;
}

void ChunkReader::close() {
  consumed_before_ += stream_->consumed();
  stream_.reset();
  cursor_ = {cursor_.file + 1, 0, 0, consumed_before_, false};
}

void ChunkReader::go_to(const Cursor& cursor) {
  stream_.reset();
  buffer_.clear();
  cursor_ = cursor;
  consumed_before_ = 0;
  for (std::uint64_t f = 0; f < cursor.file; ++f) {
    std::error_code ignored;  // it is for progress
    consumed_before_ += std::filesystem::file_size(files_[f], ignored);
  }
}

/// Reads on until the buffer has that many bytes, or the file ends.
void ChunkReader::fill(std::size_t bytes) {
  while (!ended_ && buffer_.size() < bytes) {
    const std::size_t before = buffer_.size();
    buffer_.resize(before + kReadBytes);
    const std::size_t got = stream_->read(std::span(buffer_).subspan(before));
    buffer_.resize(before + got);
    ended_ = got == 0;
  }
}

bool ChunkReader::find_in_text(std::size_t from, Cut& cut) const {
  const std::string_view text = buffer_;
  for (std::size_t at = text.find('\n', from); at != text.npos; at = text.find('\n', at + 1)) {
    const std::size_t behind = at + 1;
    // What decides, the next line if it is a separator, must be in the buffer.
    if (!ended_ && text.size() - behind < kSeparator.size()) return false;
    if (separator_ends_at(text, at)) {
      cut = {behind, false};
      return true;
    }
    const bool in_front = text.substr(behind).starts_with(kSeparator);
    if (options_.cut_documents && !in_front && find_cut(text.substr(0, behind + 1), at) == behind) {
      cut = {behind, true};
      return true;
    }
  }
  return false;
}

bool ChunkReader::find(std::size_t from, Cut& cut) const {
  if (format_of(files_[cursor_.file]) == Format::text) return find_in_text(from, cut);
  const std::size_t newline = buffer_.find('\n', from);
  cut = {newline + 1, false};
  return newline != buffer_.npos;
}

/// `bytes` of the file at hand, or more up to where it can be cut.
Segment ChunkReader::take(std::size_t bytes) {
  Segment segment{cursor_.file, {cursor_.offset, cursor_.lines}, {}, false};
  Cut cut;
  std::size_t from = bytes - 1;  // no place to cut in front of here
  bool found = false;
  for (fill(bytes + kReadBytes); buffer_.size() > bytes; fill(buffer_.size() + 1)) {
    found = find(from, cut);
    if (found || ended_) break;
    from = std::max(from, buffer_.size() - std::min(buffer_.size(), kSeparator.size() + 2));
  }
  if (!found) cut = {buffer_.size(), false};
  std::string rest = buffer_.substr(cut.at);
  buffer_.resize(cut.at);
  segment.bytes = std::exchange(buffer_, std::move(rest));
  segment.ends_within = cut.within;
  cursor_.offset += cut.at;
  cursor_.lines +=
      static_cast<std::uint64_t>(std::count(segment.bytes.begin(), segment.bytes.end(), '\n'));
  cursor_.within = cut.within;
  fill(1);  // to know whether this was the end
  cursor_.consumed = consumed_before_ + stream_->consumed();
  return segment;
}

std::vector<Segment> ChunkReader::next() {
  std::vector<Segment> chunk;
  std::size_t left = options_.bytes;
  while (!at_end() && left > 0) {
    if (stream_ == nullptr) open();
    Segment segment = take(left);
    left -= std::min(left, segment.bytes.size());
    if (!segment.bytes.empty()) chunk.push_back(std::move(segment));
    if (ended_ && buffer_.empty()) close();
  }
  return chunk;
}

}  // namespace bessemer::data

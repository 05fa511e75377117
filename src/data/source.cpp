#include "data/source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fnmatch.h>

#include "base/error.h"
#include "base/log.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLookedAt = 4 << 20;  // of a file, for the keys of its first object

bool hidden(const fs::path& name) { return name.string().starts_with('.'); }

bool has_wildcard(const std::string& text) { return text.find_first_of("*?[") != text.npos; }

/// The entries of `directory`, sorted by name, hidden ones left out.
std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code)) {
    if (!hidden(it->path().filename())) found.push_back(it->path());
  }
  if (code) fail_input("{}: cannot list: {}", directory.string(), code.message());
  std::sort(found.begin(), found.end());
  return found;
}

bool names_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

void add_tree(const fs::path& directory, std::vector<fs::path>& files) {
  for (const fs::path& entry : entries(directory)) {
    const bool link = fs::is_symlink(entry);  // a linked folder could lead round in a circle
    if (names_directory(entry) && !link) add_tree(entry, files);
    if (is_file(entry)) files.push_back(entry);
  }
}

/// Adds the files under `base` whose path matches the pattern components [first, last).
void add_matches(const fs::path& base, std::vector<fs::path>::const_iterator first,
                 std::vector<fs::path>::const_iterator last, std::vector<fs::path>& files) {
  if (first == last) {
    if (is_file(base)) files.push_back(base);
    return;
  }
  const fs::path directory = base.empty() ? fs::path(".") : base;
  if (*first == "**") {
    add_matches(base, first + 1, last, files);
    if (!names_directory(directory)) return;
    for (const fs::path& entry : entries(directory)) {
      if (names_directory(entry) && !fs::is_symlink(entry)) {
        add_matches(base / entry.filename(), first, last, files);
      }
    }
    return;
  }
  if (!has_wildcard(first->string())) return add_matches(base / *first, first + 1, last, files);
  if (!names_directory(directory)) return;
  for (const fs::path& entry : entries(directory)) {
    if (::fnmatch(first->c_str(), entry.filename().c_str(), FNM_PERIOD) == 0) {
      add_matches(base / entry.filename(), first + 1, last, files);
    }
  }
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_ascii_word(char c) { return static_cast<unsigned char>(c) < 0x80 && !is_space(c); }

std::string_view without_newline(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string first_bytes(const fs::path& file, std::size_t most) {
  const std::unique_ptr<ByteStream> stream = open_stream(file);
  std::string bytes(most, '\0');
  std::size_t size = 0;
  while (const std::size_t n = stream->read(std::span(bytes).subspan(size))) size += n;
  bytes.resize(size);
  return bytes;
}

}  // namespace

std::size_t find_cut(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find('\n', from); at != text.npos; at = text.find('\n', at + 1)) {
    if (at == 0 || at + 1 >= text.size()) continue;
    const char next = text[at + 1];
    if (is_ascii_word(text[at - 1]) && is_ascii_word(next) && next != '/') return at + 1;
  }
  return text.npos;
}

bool is_separator(std::string_view line) { return without_newline(line) == kSeparator; }

bool is_blank(std::string_view line) { return std::all_of(line.begin(), line.end(), is_space); }

std::vector<fs::path> expand_path(const std::string& path) {
  std::vector<fs::path> files;
  if (names_directory(path)) {
    add_tree(path, files);
    require_input(!files.empty(), "{}: the directory has no files", path);
  } else if (is_file(path)) {
    files.emplace_back(path);
  } else if (has_wildcard(path)) {
    const fs::path pattern(path);
    std::vector<fs::path> parts;
    for (const fs::path& part : pattern.relative_path()) parts.push_back(part);
    add_matches(pattern.root_path(), parts.begin(), parts.end(), files);
    std::sort(files.begin(), files.end());
    files.erase(std::unique(files.begin(), files.end()), files.end());
    require_input(!files.empty(), "{}: the pattern matches no file", path);
  } else {
    fail_input("{}: no such file or directory; a corpus is a file, a directory or a glob", path);
  }
  return files;
}

Format format_of(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  const auto extension = name.extension();
  const bool json = extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
  return json ? Format::jsonl : Format::text;
}

bool holds_messages(const std::vector<fs::path>& files, std::string_view text_key) {
  for (const fs::path& file : files) {
    if (format_of(file) != Format::jsonl) continue;
    const std::string head = first_bytes(file, kLookedAt);
    for (std::size_t at = 0; at < head.size();) {
      const std::size_t end = std::min(head.find('\n', at), head.size());
      const auto keys = json_keys(std::string_view(head).substr(at, end - at));
      at = end + 1;
      if (!keys) continue;
      const auto has = [&](std::string_view key) {
        return std::find(keys->begin(), keys->end(), key) != keys->end();
      };
      return has(kMessagesKey) && !has(text_key);
    }
  }
  return false;
}

StreamReader::StreamReader(std::unique_ptr<ByteStream> stream, std::string name, Format format,
                           ReaderOptions options, StreamStart start)
    : lines_(std::move(stream)),
      format_(format),
      piece_bytes_(options.piece_bytes),
      parser_(std::move(name), {options.text_key, options.on_bad_record, options.bad_records_shown,
                                std::move(options.chat)}),
      line_number_(start.lines),
      line_begin_(start.offset),
      line_end_(start.offset) {}

bool StreamReader::next(Piece& piece) {
  return format_ == Format::jsonl ? next_json(piece) : next_text(piece);
}

bool StreamReader::next_line(std::string& line) {
  line.clear();
  if (!lines_.append_next(line)) return false;
  ++line_number_;
  line_begin_ = std::exchange(line_end_, line_end_ + line.size());
  return true;
}

/// Gives a front part of the document where what is left is long enough and can be cut.
bool StreamReader::take_cut(Piece& piece) {
  const std::size_t wanted = piece_bytes_;
  if (wanted == 0 || !spans_.empty() || document_.size() - given_ <= wanted) return false;
  const std::size_t cut = find_cut(document_, std::max(searched_, given_ + wanted - 1));
  if (cut == std::string::npos) {
    searched_ = document_.size() - 1;  // its last character may yet become a cut
    return false;
  }
  piece.text.assign(document_, given_, cut - given_);
  piece.ends_document = false;
  piece.spans.clear();
  piece.place.offset = document_begin_;
  given_ = cut;
  return true;
}

/// Gives all that is left; the document ends.
void StreamReader::take_rest(Piece& piece) {
  piece.text.assign(document_, given_);
  piece.ends_document = true;
  piece.place.offset = document_begin_;
  piece.spans = spans_;
  document_.clear();
  given_ = searched_ = 0;
}

bool StreamReader::next_text(Piece& piece) {
  while (true) {
    if (take_cut(piece)) {
      document_.erase(0, std::exchange(given_, 0));
      searched_ = 0;
      return true;
    }
    const bool more = next_line(line_);
    if (more && !is_separator(line_)) {
      if (document_.empty()) document_begin_ = line_begin_;
      document_ += line_;
      continue;
    }
    if (!document_.empty()) {  // a cut never takes all, so this is not the end of a cut document
      take_rest(piece);
      return true;
    }
    if (!more) return false;
    ++empty_documents_;
  }
}

bool StreamReader::next_json(Piece& piece) {
  while (!whole_) {
    if (!next_line(line_)) return false;
    if (line_number_ == 1 && line_.starts_with(kByteOrderMark)) line_.erase(0, 3);
    if (is_blank(line_)) continue;
    document_begin_ = line_begin_;
    if (!parser_.parse(line_, line_number_, line_begin_, document_, spans_)) {
      document_.clear();
      continue;
    }
    whole_ = !document_.empty();
    if (!whole_) ++empty_documents_;
  }
  if (take_cut(piece)) return true;
  take_rest(piece);
  whole_ = false;
  return true;
}

DocumentReader::DocumentReader(std::vector<fs::path> files, ReaderOptions options)
    : files_(std::move(files)), options_(std::move(options)) {
  for (const fs::path& file : files_) {
    std::error_code code;
    const auto size = fs::file_size(file, code);
    if (code) fail_input("{}: cannot read its size: {}", file.string(), code.message());
    bytes_total_ += size;
  }
}

bool DocumentReader::next(Piece& piece) {
  while (true) {
    if (reader_ == nullptr) {
      if (next_file_ == files_.size()) break;
      const fs::path& file = files_[next_file_++];
      reader_ = std::make_unique<StreamReader>(open_stream(file), file.string(), format_of(file),
                                               options_);
      file_had_documents_ = false;
    }
    if (reader_->next(piece)) {
      file_had_documents_ = true;
      piece.place.file = static_cast<std::uint32_t>(next_file_ - 1);
      if (piece.ends_document) ++documents_;
      return true;
    }
    close_file();
  }
  require_input(documents_ > 0, "{}{}: no documents: every file is empty; give a path with text",
                files_.empty() ? "(no file)" : files_.front().string(),
                files_.size() > 1 ? fmt::format(" and {} more", files_.size() - 1) : "");
  return false;
}

void DocumentReader::close_file() {
  const std::string name = files_[next_file_ - 1].string();
  if (!file_had_documents_) {
    log::info("{}: no documents in it; skipped", name);
  } else if (reader_->empty_documents() > 0) {
    log::info("{}: {} empty documents skipped", name, reader_->empty_documents());
  }
  if (const std::uint64_t bad = reader_->bad_records()) {
    log::warn("{}: {} bad records skipped in all", name, bad);
    bad_records_ += bad;
  }
  bytes_before_ += reader_->consumed();
  reader_.reset();
}

std::uint64_t DocumentReader::bytes_done() const {
  return bytes_before_ + (reader_ != nullptr ? reader_->consumed() : 0);
}

}  // namespace bessemer::data

// make_parts, declared in parts.h.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "data/document_encoder.h"
#include "data/manifest.h"
#include "data/parts.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kChunksOfGroup = 64;
constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::uint64_t kBadRecordsShown = 5;  // of a group

std::uint64_t size_of_file(const fs::path& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  if (code) fail_input("{}: cannot read its size: {}", path.string(), code.message());
  return size;
}

/// Some files and the parts that are made from them. Its reader is one thread's at a time.
class Group {
 public:
  Group(std::vector<fs::path> files, std::uint64_t first, std::uint64_t bytes,
        const PartOptions& options, bool cut_documents)
      : first_file(first),
        directory(options.directory / digest_of(options.made_from + "\n" + describe_files(files))),
        reader(files, {static_cast<std::size_t>(std::clamp(
                           bytes / kChunksOfGroup, options.smallest_chunk, options.largest_chunk)),
                       cut_documents}),
        names(std::move(files)) {
    std::error_code code;
    fs::create_directories(directory, code);
    if (code) fail_input("{}: cannot create the directory: {}", directory.string(), code.message());
  }

  fs::path path_of(std::size_t part) const { return directory / fmt::format("{:06}.part", part); }

  const std::uint64_t first_file;
  const fs::path directory;
  ChunkReader reader;
  const std::vector<fs::path> names;
  std::vector<PartSummary> parts;  // given out so far
  bool busy = false;               // its reader is in use
  std::uint64_t bad_records = 0;
};

/// A chunk to be tokenized.
struct Work {
  Group* group = nullptr;
  std::size_t group_index = 0, part = 0;
  std::vector<Segment> segments;
  Cursor begin, end;
  std::uint64_t bad_records_shown = 0;
};

/// What is still to be done, for several threads.
class Queue {
 public:
  Queue(std::vector<std::unique_ptr<Group>>& groups) : groups_(groups) {
    for (const auto& group : groups_) take_over(*group);
  }

  /// The next chunk; nothing where all are given out.
  std::optional<Work> next() {
    std::unique_lock lock(mutex_);
    while (true) {
      bool waiting = false;
      for (std::size_t g = first_; g < std::min(groups_.size(), failed_group_); ++g) {
        Group& group = *groups_[g];
        if (group.busy) {
          waiting = true;
        } else if (!group.reader.at_end()) {
          return take(g, lock);
        } else if (g == first_) {
          ++first_;
        }
      }
      if (!waiting) return std::nullopt;
      changed_.wait(lock);
    }
  }

  void finish(const Work& work, const PartSummary& summary) {
    const std::lock_guard lock(mutex_);
    work.group->parts[work.part] = summary;
    work.group->bad_records += summary.bad_records;
    count(work.begin, work.end);
  }

  void fail(const Work& work) {
    const std::lock_guard lock(mutex_);
    note_failure(work.group_index, work.part);
  }

  void rethrow() const {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

  std::uint64_t done() {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  std::uint64_t before() const { return before_; }
  std::size_t parts_before() const { return parts_before_; }

 private:
  /// Goes over the parts at the front of a group that are there.
  void take_over(Group& group) {
    while (skip_made(group)) ++parts_before_;
    before_ = done_;
  }

  bool skip_made(Group& group) {
    if (group.reader.at_end()) return false;
    const fs::path path = group.path_of(group.parts.size());
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return false;
    PartSummary summary;
    try {
      summary = read_part_summary(path);
      if (summary.begin != group.reader.cursor()) return false;
    } catch (const InputError& error) {
      log::warn("{}; it is made anew", error.what());
      return false;
    }
    count(group.reader.cursor(), summary.end);
    group.reader.go_to(summary.end);
    group.bad_records += summary.bad_records;
    group.parts.push_back(summary);
    return true;
  }

  void count(const Cursor& begin, const Cursor& end) {
    done_ += end.consumed - std::min(begin.consumed, end.consumed);
  }

  /// Reads a chunk of a group while the others may do what they like.
  std::optional<Work> take(std::size_t g, std::unique_lock<std::mutex>& lock) {
    Group& group = *groups_[g];
    Work work{&group, g, group.parts.size(), {}, group.reader.cursor(), {}, 0};
    group.busy = true;
    group.parts.emplace_back();
    lock.unlock();
    std::exception_ptr failure;
    try {
      work.segments = group.reader.next();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    group.busy = false;
    changed_.notify_all();
    if (failure != nullptr) {
      note_failure(g, work.part, failure);
      return std::nullopt;
    }
    work.end = group.reader.cursor();
    work.bad_records_shown = kBadRecordsShown - std::min(kBadRecordsShown, group.bad_records);
    while (skip_made(group)) ++parts_before_;
    return work;
  }

  /// Of several failures the first in the order of the documents counts. What stands in front of it
  /// in its group has been given out; of the groups behind it nothing is given out any more.
  void note_failure(std::size_t group, std::size_t part,
                    std::exception_ptr failure = std::current_exception()) {
    changed_.notify_all();
    const bool first = std::pair(group, part) < std::pair(failed_group_, failed_part_);
    if (!first) return;
    failed_group_ = group;
    failed_part_ = part;
    failure_ = std::move(failure);
  }

  std::vector<std::unique_ptr<Group>>& groups_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t first_ = 0;  // group that may have work
  std::uint64_t done_ = 0, before_ = 0;
  std::size_t parts_before_ = 0;
  std::size_t failed_group_ = SIZE_MAX, failed_part_ = 0;
  std::exception_ptr failure_;
};

/// The documents of a chunk as tokens.
class ChunkEncoder {
 public:
  ChunkEncoder(const Tokenizer& tokenizer, const PartOptions& options)
      : tokenizer_(tokenizer), options_(options), encoder_(tokenizer) {}

  PartSummary make(const Work& work) {
    PartWriter part(token_type_for(tokenizer_.vocabulary_size()));
    part.summary.begin = work.begin;
    part.summary.end = work.end;
    for (const Segment& segment : work.segments) add(segment, work, part);
    part.write(work.group->path_of(work.part));
    return part.summary;
  }

 private:
  void add(const Segment& segment, const Work& work, PartWriter& part) {
    const std::uint64_t shown = work.bad_records_shown;
    const fs::path& name = work.group->names[segment.file];
    StreamReader reader(
        memory_stream(segment.bytes), name.string(), format_of(name),
        {options_.text_key, tokenizer_.cuttable() ? kPieceBytes : 0, options_.on_bad_record,
         shown - std::min(shown, part.summary.bad_records), options_.chat},
        segment.start);
    const std::int32_t end_of_text = tokenizer_.end_of_text();
    Place place;
    bool ended = false;              // the document at hand, unless it goes on in the next part
    const auto end_document = [&] {  // the end of a conversation is not trained
      constexpr std::array<std::uint8_t, 1> kNotTrained{0};
      const std::span<const std::uint8_t> all;
      part.append(std::span(&end_of_text, 1), options_.chat ? kNotTrained : all, place);
      part.end_document();
    };
    for (Piece piece; reader.next(piece); ended = piece.ends_document) {
      if (ended) end_document();
      place = {piece.place.offset, static_cast<std::uint32_t>(segment.file)};
      encoder_.encode(piece.text, piece.spans, options_.added_tokens, encoded_);
      part.append(encoded_.ids, encoded_.trained, place);
      part.summary.bytes += piece.text.size();
    }
    if (ended && !segment.ends_within) end_document();
    part.summary.bad_records += reader.bad_records();
    part.summary.empty_documents += reader.empty_documents();
  }

  const Tokenizer& tokenizer_;
  const PartOptions& options_;
  DocumentEncoder encoder_;
  EncodedDocument encoded_;
};

std::vector<std::unique_ptr<Group>> group_files(const std::vector<fs::path>& files,
                                                const PartOptions& options, bool cut_documents) {
  std::vector<std::unique_ptr<Group>> groups;
  std::vector<fs::path> group;
  std::uint64_t bytes = 0;
  for (std::size_t f = 0; f < files.size(); ++f) {
    group.push_back(files[f]);
    bytes += size_of_file(files[f]);
    if (bytes < options.largest_chunk && f + 1 < files.size()) continue;
    const std::uint64_t first = f + 1 - group.size();
    groups.push_back(
        std::make_unique<Group>(std::exchange(group, {}), first, bytes, options, cut_documents));
    bytes = 0;
  }
  return groups;
}

/// One thread's share. Progress is reported where `reports`.
void work_on(Queue& queue, const Tokenizer& tokenizer, const PartOptions& options, bool reports) {
  ChunkEncoder encoder(tokenizer, options);
  while (const std::optional<Work> work = queue.next()) {
    try {
      queue.finish(*work, encoder.make(*work));
    } catch (...) {
      queue.fail(*work);
    }
    if (reports && options.progress) options.progress(queue.done(), queue.before());
  }
}

}  // namespace

std::vector<MadePart> make_parts(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                                 const PartOptions& options) {
  std::vector<std::unique_ptr<Group>> groups = group_files(files, options, tokenizer.cuttable());
  Queue queue(groups);
  if (queue.parts_before() > 0) {
    log::info("source {}: going on behind {} parts that an earlier build left", options.name,
              queue.parts_before());
  }
  // Thread 0 of the team is the calling one.
  parallel_items(thread_count(), [&](std::int64_t, int thread) {
    work_on(queue, tokenizer, options, thread == 0);
  });
  queue.rethrow();
  std::vector<MadePart> parts;
  for (const auto& group : groups) {
    for (std::size_t p = 0; p < group->parts.size(); ++p) {
      parts.push_back({group->path_of(p), group->first_file, group->parts[p]});
    }
  }
  return parts;
}

}  // namespace bessemer::data

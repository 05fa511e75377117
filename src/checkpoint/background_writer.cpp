#include "checkpoint/background_writer.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/partial_directory.h"

namespace bessemer::checkpoint {
namespace {

constexpr std::int64_t kCopyGrain = std::int64_t{1} << 20;

}  // namespace

BackgroundWriter::BackgroundWriter(std::filesystem::path run_directory, int keep)
    : run_directory_(std::move(run_directory)), keep_(keep) {
  remove_leftovers(checkpoint_path(run_directory_, 0).parent_path());
}

BackgroundWriter::~BackgroundWriter() {
  try {
    wait();
  } catch (const std::exception& error) {
    log::error("the last checkpoint was not saved: {}", error.what());
  }
}

std::size_t BackgroundWriter::snapshot_bytes(std::span<const TensorSpec> specs) {
  std::size_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += align_up(spec.type.bytes());
  return bytes;
}

void BackgroundWriter::reserve(std::span<const TensorSpec> specs) {
  wait();
  reserve_bytes(snapshot_bytes(specs));
  // The system hands out pages when they are first touched; touched here, they cost no save.
  parallel_for(static_cast<std::int64_t>(buffer_.size()), kCopyGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 std::memset(buffer_.data() + begin, 0, static_cast<std::size_t>(end - begin));
               });
}

void BackgroundWriter::reserve_bytes(std::size_t bytes) {
  if (bytes <= buffer_.size()) return;
  buffer_ = Arena();  // the old one goes first: never both
  buffer_ = Arena(bytes);
}

void BackgroundWriter::save(std::int64_t step, std::span<const TensorSpec> specs,
                            const CopyTo& copy_to, nlohmann::json state) {
  wait();
  reserve_bytes(snapshot_bytes(specs));
  snapshot_.clear();
  std::byte* next = buffer_.data();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::span room(next, specs[i].type.bytes());
    copy_to(i, room);
    snapshot_.push_back({specs[i].name, {specs[i].type, room}});
    next += align_up(room.size());
  }
  writing_ = std::async(std::launch::async, [this, step, text = std::move(state)] {
    const auto written = write_checkpoint(run_directory_, step, snapshot_, text);
    keep_last(run_directory_, keep_, written);
  });
}

void BackgroundWriter::write_now(std::int64_t step, std::span<const TensorSpec> specs,
                                 const BytesOf& bytes_of, const nlohmann::json& state) {
  wait();
  keep_last(run_directory_, keep_, write_checkpoint(run_directory_, step, specs, bytes_of, state));
}

void BackgroundWriter::wait() {
  if (writing_.valid()) writing_.get();
}

}  // namespace bessemer::checkpoint

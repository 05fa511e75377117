#include "runtime/tier_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

namespace bessemer::runtime {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes of one request
constexpr std::size_t kBounce = std::size_t{256} << 10;

std::size_t down(std::size_t x) { return x / kBlock * kBlock; }

bool aligned(const FileRequest& request) {
  return request.offset % kBlock == 0 &&
         reinterpret_cast<std::uintptr_t>(request.memory) % kBlock == 0;
}

}  // namespace

TierFile::TierFile(const std::filesystem::path& directory, std::size_t bytes, std::size_t users,
                   QueueFactory make_queue)
    : path_(directory), size_(align_up(bytes, kBlock)), users_(users) {
  open(directory);
  try {
    take_space();
    for (User& user : users_) {
      user.queue = make_queue();
      user.bounce = Arena(kBounce);
      user.under_way.resize(user.queue->depth());
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
  const int flags = ::fcntl(descriptor_, F_GETFL);
  direct_ = flags >= 0 && ::fcntl(descriptor_, F_SETFL, flags | O_DIRECT) == 0;
}

TierFile::~TierFile() { ::close(descriptor_); }

void TierFile::open(const std::filesystem::path& directory) {
  std::string name = (directory / "bessemer-tier-XXXXXX").string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  const int code = errno;
  require_input(descriptor_ >= 0, "{}: cannot create a file for the file tier: {}",
                directory.string(), std::strerror(code));
  path_ = name;
  ::unlink(name.c_str());
}

void TierFile::take_space() const {
  const int code = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(std::max(size_, kBlock)));
  require_input(code == 0, "{}: cannot take {} bytes for the file tier: {}", path_.string(), size_,
                std::strerror(code));
}

void TierFile::read(std::size_t user, std::size_t offset, std::span<std::byte> to) {
  transfer(users_[user], {FileRequest::Kind::read, descriptor_, offset, to.data(), to.size()});
}

void TierFile::write(std::size_t user, std::size_t offset, std::span<const std::byte> from) {
  transfer(users_[user], {FileRequest::Kind::write, descriptor_, offset,
                          const_cast<std::byte*>(from.data()), from.size()});
}

void TierFile::transfer(User& user, FileRequest whole) const {
  if (whole.offset + whole.bytes > size_) {
    fail("{}: bytes [{}, {}) of {}", path_.string(), whole.offset, whole.offset + whole.bytes,
         size_);
  }
  if (!direct_) return straight(user, whole);
  if (aligned(whole) && whole.bytes >= kBlock) {
    FileRequest blocks = whole;
    blocks.bytes = down(whole.bytes);
    straight(user, blocks);
    whole.offset += blocks.bytes;
    whole.memory += blocks.bytes;
    whole.bytes -= blocks.bytes;
  }
  if (whole.bytes > 0) through_bounce(user, whole);
}

// Whole blocks around what is wanted; what a write does not replace of them is read first.
void TierFile::through_bounce(User& user, FileRequest whole) const {
  while (whole.bytes > 0) {
    const std::size_t begin = down(whole.offset), ahead = whole.offset - begin;
    const std::size_t bytes = std::min(whole.bytes, kBounce - ahead);
    FileRequest blocks{whole.kind, descriptor_, begin, user.bounce.data(),
                       align_up(ahead + bytes, kBlock)};
    if (whole.kind == FileRequest::Kind::read) {
      straight(user, blocks);
      std::memcpy(whole.memory, user.bounce.data() + ahead, bytes);
    } else {
      blocks.kind = FileRequest::Kind::read;
      straight(user, blocks);
      std::memcpy(user.bounce.data() + ahead, whole.memory, bytes);
      blocks.kind = FileRequest::Kind::write;
      straight(user, blocks);
    }
    whole.offset += bytes;
    whole.memory += bytes;
    whole.bytes -= bytes;
  }
}

// Pieces through the queue, as many at once as it takes. A piece that comes back short goes on
// where it ended.
void TierFile::straight(User& user, const FileRequest& whole) const {
  std::size_t next = 0, count = 0;
  for (FileRequest& slot : user.under_way) slot.bytes = 0;
  while (next < whole.bytes || count > 0) {
    for (std::size_t s = 0; s < user.under_way.size() && next < whole.bytes; ++s) {
      FileRequest& slot = user.under_way[s];
      if (slot.bytes > 0) continue;
      slot = {whole.kind, whole.descriptor, whole.offset + next, whole.memory + next,
              std::min(kPiece, whole.bytes - next)};
      next += slot.bytes;
      ++count;
      user.queue->submit(s, slot);
    }
    const FileCompletion done = user.queue->wait();
    --count;
    FileRequest& slot = user.under_way[done.slot];
    if (done.result == -EINTR || done.result == -EAGAIN) {
      ++count;
      user.queue->submit(done.slot, slot);
      continue;
    }
    auto moved = static_cast<std::size_t>(std::max<std::int64_t>(0, done.result));
    if (moved < slot.bytes && direct_) moved = down(moved);
    if (moved == 0) {
      drain(user, count);  // the kernel still works on the memory
      fail_transfer(slot, done.result < 0 ? static_cast<int>(-done.result) : 0);
    }
    slot.offset += moved;
    slot.memory += moved;
    slot.bytes -= moved;
    if (slot.bytes == 0) continue;
    ++count;
    user.queue->submit(done.slot, slot);
  }
}

void TierFile::drain(User& user, std::size_t count) const {
  for (; count > 0; --count) user.queue->wait();
}

void TierFile::fail_transfer(const FileRequest& request, int code) const {
  const bool read = request.kind == FileRequest::Kind::read;
  fail_input("{}: cannot {} {} bytes at {} of the file tier: {}", path_.string(),
             read ? "read" : "write", request.bytes, request.offset,
             code != 0 ? std::strerror(code) : "the system moved no byte and gave no reason");
}

}  // namespace bessemer::runtime

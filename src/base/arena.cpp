#include "base/arena.h"

#include <utility>

#include <sys/mman.h>

#include "base/error.h"

namespace bessemer {

Arena::Arena(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(mapped != MAP_FAILED, "the system refused an arena of {} bytes", bytes);
  ::madvise(mapped, bytes, MADV_HUGEPAGE);  // advice only: a refusal costs time, not correctness
  data_ = static_cast<std::byte*>(mapped);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Arena::~Arena() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace bessemer

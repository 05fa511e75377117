// One block of zeroed memory, aligned to a page, asked of the system once.
#pragma once

#include <cstddef>

namespace bessemer {

class Arena {
 public:
  /// Every tensor in an arena starts at a multiple of this: a cache line and the widest vector.
  static constexpr std::size_t kAlignment = 64;

  Arena() = default;
  explicit Arena(std::size_t bytes);  // Error where the system has not that much
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

inline std::size_t align_up(std::size_t bytes, std::size_t alignment = Arena::kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

}  // namespace bessemer

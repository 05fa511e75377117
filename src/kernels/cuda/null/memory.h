// What the null device has for memory: each piece one of its own, so that AddressSanitizer sees who
// goes beyond it.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace bessemer::kernels::cuda::null {

inline constexpr std::align_val_t kMemoryAlignment{256};  // as CUDA's is

struct FreeMemory {
  void operator()(std::byte* memory) const { ::operator delete(memory, kMemoryAlignment); }
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;

inline Memory new_memory(std::size_t bytes) {
  return Memory(static_cast<std::byte*>(::operator new(bytes, kMemoryAlignment)));
}

}  // namespace bessemer::kernels::cuda::null

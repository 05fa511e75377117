// The null device's side of mma.cuh: by the tables there, element for element. Products of bf16
// are exact in fp32; sums are made in order of k, which the tensor cores do not promise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bessemer::kernels::cuda {

void multiply(float (&c)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1);
Fragment load_matrices(const void* row);
Fragment load_matrices_transposed(const void* row);

inline std::uint32_t pack_bf16(float low, float high) {
  return to_bf16(low).bits | static_cast<std::uint32_t>(to_bf16(high).bits) << 16;
}

void copy_async(void* shared, const void* global, bool there);
inline void commit_copies() { null::commit_copies(); }
template <int kPending>
void wait_copies() {
  null::wait_copies(kPending);
}

}  // namespace bessemer::kernels::cuda

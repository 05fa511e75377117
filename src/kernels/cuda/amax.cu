// amax: x is read once, 16 bytes at a time, four of them in flight a thread, by as many blocks as a
// device runs at once; each leaves its maximum in scratch, and a block of its own takes the largest
// of those. What a program makes is measured as it is made (quantize_program.cu).
#include <algorithm>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/quantize_program.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 4;
constexpr std::int64_t kMostBlocks = 132 * 8;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    largest_of_parts(const T* x, std::int64_t elements, Magnitude* parts) {
  constexpr int kSize = Pack<T>::kSize;
  const std::int64_t packs = elements / kSize;
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  const std::int64_t thread = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  Magnitude largest = 0;
  for (std::int64_t base = thread; base < packs; base += kAhead * threads) {
    Pack<T> next[kAhead] = {};
    for (int k = 0; k < kAhead; ++k) {
      if (base + k * threads < packs) next[k] = load_pack(x + (base + k * threads) * kSize);
    }
    for (const Pack<T>& pack : next) {
      for (int e = 0; e < kSize; ++e) {
        largest = std::max(largest, magnitude(to_float(pack.at[e])));
      }
    }
  }
  const std::int64_t left = packs * kSize + thread;
  if (left < elements) largest = std::max(largest, magnitude(to_float(x[left])));
  largest = block_max(largest, Magnitude{0});
  if (threadIdx.x == 0) parts[blockIdx.x] = largest;
}

template <typename T>
Prepared prepare(std::int64_t elements) {
  const std::int64_t needed = divide_up(elements, std::int64_t{kThreads} * Pack<T>::kSize * kAhead);
  const std::int64_t blocks = std::clamp<std::int64_t>(needed, 1, kMostBlocks);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* parts = static_cast<Magnitude*>(buffers.scratch);
        launch(largest_of_parts<T>, Grid{blocks, 1, 1, kThreads}, buffers.stream,
               buffers.operand<T>(0), elements, parts);
        launch_largest_of(parts, blocks, buffers.result<float>(0), buffers.stream);
      },
      static_cast<std::size_t>(blocks) * sizeof(Magnitude));
}

}  // namespace

Prepared amax(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  if (request.attributes.find("program") != nullptr) return measure_program(request);
  const TensorType& x = request.operand(0);
  return of_dtype(x.dtype, [&]<typename T>(T) { return prepare<T>(x.elements()); });
}

}  // namespace bessemer::kernels::cuda

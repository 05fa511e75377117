// Dropout by the mask of kernels/dropout_mask.h. Reads x and writes y once, and makes a Philox
// block for every four elements: some 20 wide multiplications and 60 other instructions, which for
// bf16 is most of what the multiprocessors can do in the time of those bytes. So a thread takes
// several packs: their loads are in flight together, and the key is made once for all of them.
#include <algorithm>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/dropout_mask.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPacks = 4;  // of a thread, kThreads apart
constexpr std::int64_t kMostBlocks = 1 << 16;

struct Drop {
  std::uint32_t site;
  std::uint32_t below;  // words that mean "drop"
  float scale;
  std::int64_t elements;
};

template <typename T>
__device__ T keep_or_drop(T x, std::uint32_t word, const Drop& drop) {
  return from_float<T>(word < drop.below ? 0.0f : to_float(x) * drop.scale);
}

/// Pack number `index` of the tensor.
template <typename T>
__device__ Pack<T> drop_pack(const Pack<T>& x, std::int64_t index, const CounterRng& rng,
                             const Drop& drop) {
  constexpr int kBlocks = Pack<T>::kSize / 4;
  Pack<T> y;
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    const PhiloxCounter words = rng.block(static_cast<std::uint64_t>(index * kBlocks + b));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      y.at[4 * b + i] = keep_or_drop(x.at[4 * b + i], words[static_cast<std::size_t>(i)], drop);
    }
  }
  return y;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    drop_elements(const T* x, const std::int64_t* counter, Drop drop, T* y) {
  constexpr int kSize = Pack<T>::kSize;
  const CounterRng rng(static_cast<std::uint64_t>(counter[0]), fold(counter[1], counter[2]),
                       drop.site);
  const std::int64_t packs = drop.elements / kSize;
  const std::int64_t tiles = divide_up(packs, kThreads * kPacks);
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const std::int64_t first = tile * kThreads * kPacks + threadIdx.x;
    Pack<T> loaded[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t index = first + p * kThreads;
      if (index < packs) loaded[p] = load_pack(x + index * kSize);
    }
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t index = first + p * kThreads;
      if (index < packs) store_pack(y + index * kSize, drop_pack(loaded[p], index, rng, drop));
    }
  }
  const std::int64_t last = packs * kSize + threadIdx.x;
  if (blockIdx.x == 0 && last < drop.elements) {
    y[last] = keep_or_drop(x[last], rng.word(static_cast<std::uint64_t>(last)), drop);
  }
}

template <typename T>
Prepared prepare(const Drop& drop) {
  const std::int64_t tile = std::int64_t{Pack<T>::kSize} * kThreads * kPacks;
  const std::int64_t blocks =
      std::clamp<std::int64_t>(divide_up(drop.elements, tile), 1, kMostBlocks);
  return make_kernel([drop, grid = Grid{blocks, 1, 1, kThreads}](const KernelBuffers& buffers) {
    launch(drop_elements<T>, grid, buffers.stream, buffers.operand<T>(0),
           buffers.operand<std::int64_t>(1), drop, buffers.result<T>(0));
  });
}

}  // namespace

Prepared dropout(const KernelRequest& request) {
  const double probability = request.attributes.real("probability");
  const TensorType& x = request.operand(0);
  const Drop drop{static_cast<std::uint32_t>(request.attributes.integer("site")),
                  threshold(probability), static_cast<float>(keep_scale(probability)),
                  x.elements()};
  if (x.dtype == DType::fp32) return prepare<float>(drop);
  if (x.dtype == DType::bf16) return prepare<BFloat16>(drop);
  return Declined{"x is neither fp32 nor bf16"};
}

}  // namespace bessemer::kernels::cuda

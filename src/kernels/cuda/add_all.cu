// Sums of any number of pairs of tensors, each element read twice and written once in accesses of
// 16 bytes. Made for many small ones, of which a launch takes as many as its parameters hold: a
// block does a piece of one of them, which it finds in a table of first blocks.
#include <fmt/format.h>

#include <vector>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/tensor_of_block.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr std::int64_t kPiece = std::int64_t{kThreads} * kWide;  // elements of a block

struct Sum {
  const float *a, *b;
  float* y;
  std::int64_t elements;
  std::int32_t first_block;  // of its launch
};

constexpr int kMostSums = 256;
struct Sums {
  Sum of[kMostSums];
  std::int32_t count;
};

__global__ void __launch_bounds__(kThreads) add_tensors(const __grid_constant__ Sums sums) {
  const int block = static_cast<int>(blockIdx.x);
  const Sum& sum = sums.of[tensor_of_block(sums.of, sums.count, block)];
  const std::int64_t first =
      (block - sum.first_block) * kPiece + static_cast<std::int64_t>(threadIdx.x) * kWide;
  const std::int64_t count = sum.elements - first;
  if (count <= 0) return;
  Wide y = load_wide(sum.a + first, count, 0.0f);
  const Wide b = load_wide(sum.b + first, count, 0.0f);
  for (int i = 0; i < kWide; ++i) y.at[i] += b.at[i];
  store_wide(sum.y + first, y, count);
}

/// A launch for every kMostSums of them. `elements` of each.
void queue(const std::vector<std::int64_t>& elements, const KernelBuffers& buffers) {
  Sums sums;
  sums.count = 0;
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    sums.of[sums.count++] = {buffers.operand<float>(2 * i), buffers.operand<float>(2 * i + 1),
                             buffers.result<float>(i), elements[i],
                             static_cast<std::int32_t>(blocks)};
    blocks += divide_up(elements[i], kPiece);
    if (sums.count < kMostSums && i + 1 < elements.size()) continue;
    if (blocks > 0) launch(add_tensors, Grid{blocks, 1, 1, kThreads}, buffers.stream, sums);
    blocks = sums.count = 0;
  }
}

}  // namespace

Prepared add_all(const KernelRequest& request) {
  std::vector<std::int64_t> elements;
  for (const TensorType& sum : request.results) {
    if (sum.dtype != DType::fp32) {
      return Declined{fmt::format("a sum is {}; this kernel does fp32", name_of(sum.dtype))};
    }
    elements.push_back(sum.elements());
  }
  return make_kernel(
      [elements = std::move(elements)](const KernelBuffers& buffers) { queue(elements, buffers); });
}

}  // namespace bessemer::kernels::cuda

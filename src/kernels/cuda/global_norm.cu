// The global norm of the gradients.
//
// It reads every element once, 4 bytes or 2: a block of threads for each kNormBlock elements of
// each tensor, as many tensors to a launch as its parameters hold; the partial sums are in fp64 and
// are added by one block, in an order that depends on their number only, whether the tensors came
// at once (global_norm) or one by one (sum_of_squares, norm_of_sums).
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/arena.h"
#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/cuda/tensor_of_block.cuh"
#include "kernels/norm_block.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// The elements of a pack that begins `left` elements before the end; zeros beyond it.
template <typename T>
__device__ Pack<T> load_left(const T* from, std::int64_t left) {
  if (left >= Pack<T>::kSize) return load_pack(from);
  Pack<T> pack{};
  for (int i = 0; i < Pack<T>::kSize; ++i) {
    if (i < left) pack.at[i] = from[i];
  }
  return pack;
}

/// One operand of the norm. Its partial sums come after those of the operands before it.
struct NormTensor {
  const void* x;
  std::int64_t elements;
  std::int32_t first_block;  // of its launch
  DType dtype;
};

/// As many as fit into the parameters of a kernel, which are at most 4 KiB.
struct NormTensors {
  static constexpr int kMost = 160;
  NormTensor of[kMost];
  int count;
};

template <typename T>
__device__ double sum_of_block(const T* x, std::int64_t count) {
  constexpr int size = Pack<T>::kSize;
  constexpr int kRounds = 4;  // whose loads are in flight at a time
  double sum = 0;
  for (std::int64_t begin = 0; begin < count; begin += kThreads * size * kRounds) {
    Pack<T> packs[kRounds];
    for (int r = 0; r < kRounds; ++r) {
      const std::int64_t first =
          begin + (r * kThreads + static_cast<std::int64_t>(threadIdx.x)) * size;
      packs[r] = load_left(x + first, count - first);
    }
    for (const Pack<T>& pack : packs) {
      for (const T element : pack.at) {
        const double value = to_float(element);
        sum += value * value;
      }
    }
  }
  return block_sum(sum);
}

__global__ void __launch_bounds__(kThreads) sum_blocks(NormTensors tensors, double* sums) {
  const int block = static_cast<int>(blockIdx.x);
  const NormTensor& tensor = tensors.of[tensor_of_block(tensors.of, tensors.count, block)];
  const std::int64_t begin = (block - tensor.first_block) * kNormBlock;
  const std::int64_t left = tensor.elements - begin;
  const std::int64_t count = left < kNormBlock ? left : kNormBlock;
  const double sum = tensor.dtype == DType::bf16
                         ? sum_of_block(static_cast<const BFloat16*>(tensor.x) + begin, count)
                         : sum_of_block(static_cast<const float*>(tensor.x) + begin, count);
  if (threadIdx.x == 0) sums[block] = sum;
}

/// One block for each tensor, of fp64: one behind the other.
__global__ void __launch_bounds__(kThreads) gather_sums(NormTensors tensors, double* sums) {
  const NormTensor& tensor = tensors.of[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < tensor.elements; i += kThreads) {
    sums[tensor.first_block + i] = static_cast<const double*>(tensor.x)[i];
  }
}

constexpr int kMostThreads = 1024;

/// One block.
__global__ void __launch_bounds__(kMostThreads)
    root_of_sum(const double* sums, std::int64_t count, float* norm) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *norm = static_cast<float>(std::sqrt(sum));
}

void queue_root(const double* sums, std::int64_t count, float* norm, Stream stream) {
  const std::int64_t wanted = round_up(count, std::int64_t{kWarp});
  const auto threads =
      static_cast<int>(std::clamp<std::int64_t>(wanted, kWarp, std::int64_t{kMostThreads}));
  launch(root_of_sum, Grid{1, 1, 1, threads}, stream, sums, count, norm);
}

/// An operand before its buffer is known.
struct NormOperand {
  std::size_t index;
  std::int64_t elements;
  DType dtype;
  std::int64_t sums;  // partial ones that it has
};

/// Calls `queue(tensors, blocks, sums)` for every few operands, in order.
template <typename Queue>
void for_each_launch(const std::vector<NormOperand>& operands, const KernelBuffers& buffers,
                     double* sums, const Queue& queue) {
  NormTensors tensors;
  tensors.count = 0;
  std::int64_t blocks = 0;
  for (const NormOperand& operand : operands) {
    tensors.of[tensors.count++] = {buffers.operand<void>(operand.index), operand.elements,
                                   static_cast<std::int32_t>(blocks), operand.dtype};
    blocks += operand.sums;
    if (tensors.count < NormTensors::kMost && &operand != &operands.back()) continue;
    queue(tensors, blocks, sums);
    sums += blocks;
    blocks = tensors.count = 0;
  }
}

void queue_sums(const std::vector<NormOperand>& operands, const KernelBuffers& buffers,
                double* sums) {
  for_each_launch(
      operands, buffers, sums,
      [&](const NormTensors& tensors, std::int64_t blocks, double* of_launch) {
        launch(sum_blocks, Grid{blocks, 1, 1, kThreads}, buffers.stream, tensors, of_launch);
      });
}

/// Those that have elements.
template <typename Sums>
std::vector<NormOperand> operands_of(const KernelRequest& request, const Sums& sums_of) {
  std::vector<NormOperand> operands;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    const TensorType& x = request.operand(i);
    if (x.elements() == 0) continue;
    operands.push_back({i, x.elements(), x.dtype, sums_of(x.elements())});
  }
  return operands;
}

std::int64_t all_sums(const std::vector<NormOperand>& operands) {
  std::int64_t count = 0;
  for (const NormOperand& operand : operands) count += operand.sums;
  return count;
}

std::optional<Declined> decline_other_gradients(const KernelRequest& request) {
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    const DType dtype = request.operand(i).dtype;
    if (dtype == DType::fp32 || dtype == DType::bf16) continue;
    return Declined{
        fmt::format("operand {} is {}; this kernel does fp32 and bf16", i, name_of(dtype))};
  }
  return std::nullopt;
}

}  // namespace

Prepared sum_of_squares(const KernelRequest& request) {
  if (auto declined = decline_other_gradients(request)) return *declined;
  return make_kernel([operands = operands_of(request, norm_blocks)](const KernelBuffers& buffers) {
    queue_sums(operands, buffers, buffers.result<double>(0));
  });
}

Prepared norm_of_sums(const KernelRequest& request) {
  if (request.results[0].dtype != DType::fp32) return Declined{"the norm is not fp32"};
  auto operands = operands_of(request, [](std::int64_t elements) { return elements; });
  const std::int64_t count = all_sums(operands);
  return make_kernel(
      [operands = std::move(operands), count](const KernelBuffers& buffers) {
        auto* sums = static_cast<double*>(buffers.scratch);
        for_each_launch(operands, buffers, sums,
                        [&](const NormTensors& tensors, std::int64_t, double* of_launch) {
                          launch(gather_sums, Grid{tensors.count, 1, 1, kThreads}, buffers.stream,
                                 tensors, of_launch);
                        });
        queue_root(sums, count, buffers.result<float>(0), buffers.stream);
      },
      static_cast<std::size_t>(count) * sizeof(double));
}

Prepared global_norm(const KernelRequest& request) {
  if (auto declined = decline_other_gradients(request)) return *declined;
  if (request.results[0].dtype != DType::fp32) return Declined{"the norm is not fp32"};
  auto operands = operands_of(request, norm_blocks);
  const std::int64_t count = all_sums(operands);
  return make_kernel(
      [operands = std::move(operands), count](const KernelBuffers& buffers) {
        auto* sums = static_cast<double*>(buffers.scratch);
        queue_sums(operands, buffers, sums);
        queue_root(sums, count, buffers.result<float>(0), buffers.stream);
      },
      static_cast<std::size_t>(count) * sizeof(double));
}

}  // namespace bessemer::kernels::cuda

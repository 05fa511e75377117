// A few kilobytes: an element a thread.
#include "kernels/cuda/bias.h"

#include "base/rounding.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <typename From, typename To>
__global__ void __launch_bounds__(kThreads)
    convert(const From* from, To* to, std::int64_t elements) {
  const std::int64_t i =
      std::int64_t{blockIdx.x} * kThreads + static_cast<std::int64_t>(threadIdx.x);
  if (i < elements) to[i] = from_float<To>(to_float(from[i]));
}

template <typename From, typename To>
void queue(const void* from, void* to, std::int64_t elements, Stream stream) {
  launch(convert<From, To>, Grid{divide_up(elements, std::int64_t{kThreads}), 1, 1, kThreads},
         stream, static_cast<const From*>(from), static_cast<To*>(to), elements);
}

}  // namespace

void convert_bias(const void* from, DType dtype, void* to, std::int64_t elements, Stream stream) {
  if (dtype == DType::fp32) {
    queue<float, BFloat16>(from, to, elements, stream);
  } else {
    queue<BFloat16, float>(from, to, elements, stream);
  }
}

}  // namespace bessemer::kernels::cuda

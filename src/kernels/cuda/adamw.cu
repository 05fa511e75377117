// AdamW (Loshchilov and Hutter, 2019) over any number of tensors.
//
// Of each element four floats are read and three written, and the bf16 weight beside them where one
// is asked for: 28 or 30 bytes, each once, in accesses of 16 and 8 that are contiguous over a warp.
// A launch takes as many tensors as its parameters hold. A block does a piece of one of them, large
// enough that what is the same for all its elements costs little, and finds it in a table of first
// blocks: so tensors of any sizes load the device evenly.
#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFour = 4;    // elements of a thread at a time
constexpr int kRounds = 8;  // of a block
constexpr std::int64_t kPiece = std::int64_t{kThreads} * kFour * kRounds;

struct AdamW {
  double beta1, beta2, epsilon;
};

/// What all tensors of a step share.
struct AdamWStep {
  AdamW adamw;
  const float* learning_rate;
  const std::int64_t* step;
  const float* coefficient;
};

struct AdamWTensor {
  const float *parameter, *gradient, *m, *v;
  float *new_parameter, *new_m, *new_v;
  BFloat16* weight;  // the new parameter rounded; null where nobody wants it
  std::int64_t elements;
  double weight_decay;
  std::int32_t first_block;  // of its launch
};

template <int kMost>
struct AdamWTensors {
  AdamWTensor of[kMost];
  std::int32_t count;
};

/// The parameters of a kernel are at most 32764 bytes (CUDA 12.1).
constexpr int kMostTensors = 370;
static_assert(sizeof(AdamWStep) + sizeof(AdamWTensors<kMostTensors>) <= 32764);

/// What is the same for all elements of a tensor.
struct AdamWScalars {
  float gradient_scale;  // the clip coefficient
  float decay;           // 1 - learning rate * weight decay
  float mean_weight;     // 1 - beta1
  float beta2;
  float square_weight;            // 1 - beta2
  float inverse_root_correction;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
  float step_size;  // learning rate / (1 - beta1^step)
};

__device__ double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 != 0) result *= base;
  }
  return result;
}

__device__ AdamWScalars scalars_of(const AdamWStep& all, double weight_decay) {
  const AdamW& adamw = all.adamw;
  const double learning_rate = *all.learning_rate;
  const std::int64_t step = *all.step;
  AdamWScalars s;
  s.gradient_scale = *all.coefficient;
  s.decay = static_cast<float>(1 - learning_rate * weight_decay);
  s.mean_weight = static_cast<float>(1 - adamw.beta1);
  s.beta2 = static_cast<float>(adamw.beta2);
  s.square_weight = static_cast<float>(1 - adamw.beta2);
  s.inverse_root_correction = static_cast<float>(1 / std::sqrt(1 - power(adamw.beta2, step)));
  s.epsilon = static_cast<float>(adamw.epsilon);
  s.step_size = static_cast<float>(learning_rate / (1 - power(adamw.beta1, step)));
  return s;
}

/// Consecutive elements that one instruction moves.
template <typename T>
struct alignas(kFour * sizeof(T)) Four {
  T at[kFour];
};

/// Those that begin `left` elements before the end; zeros beyond it.
template <typename T>
__device__ Four<T> load_four(const T* from, std::int64_t left) {
  if (left >= kFour) return *reinterpret_cast<const Four<T>*>(from);
  Four<T> four{};
  for (int i = 0; i < kFour; ++i) {
    if (i < left) four.at[i] = from[i];
  }
  return four;
}
template <typename T>
__device__ void store_four(T* to, const Four<T>& four, std::int64_t left) {
  if (left >= kFour) {
    *reinterpret_cast<Four<T>*>(to) = four;
    return;
  }
  for (int i = 0; i < kFour; ++i) {
    if (i < left) to[i] = four.at[i];
  }
}

__device__ void store_weight(const AdamWTensor& tensor, const Four<float>& parameter,
                             std::int64_t first, std::int64_t left) {
  if (tensor.weight == nullptr) return;
  Four<BFloat16> weight;
  for (int i = 0; i < kFour; ++i) weight.at[i] = to_bf16(parameter.at[i]);
  store_four(tensor.weight + first, weight, left);
}

__device__ void update(const AdamWScalars& s, const AdamWTensor& tensor, std::int64_t first) {
  const std::int64_t left = tensor.elements - first;
  Four<float> parameter = load_four(tensor.parameter + first, left);
  const Four<float> gradient = load_four(tensor.gradient + first, left);
  Four<float> m = load_four(tensor.m + first, left);
  Four<float> v = load_four(tensor.v + first, left);
  for (int i = 0; i < kFour; ++i) {
    const float g = gradient.at[i] * s.gradient_scale;
    m.at[i] += s.mean_weight * (g - m.at[i]);
    v.at[i] = s.beta2 * v.at[i] + s.square_weight * (g * g);
    const float denominator = std::sqrt(v.at[i]) * s.inverse_root_correction + s.epsilon;
    parameter.at[i] = parameter.at[i] * s.decay - s.step_size * (m.at[i] / denominator);
  }
  store_four(tensor.new_parameter + first, parameter, left);
  store_four(tensor.new_m + first, m, left);
  store_four(tensor.new_v + first, v, left);
  store_weight(tensor, parameter, first, left);
}

/// Results as the operands were: only copies where they do not share a buffer.
__device__ void keep(const AdamWTensor& tensor, std::int64_t first) {
  const std::int64_t left = tensor.elements - first;
  const auto copy_four = [=](const float* from, float* to) {
    if (from != to) store_four(to + first, load_four(from + first, left), left);
  };
  copy_four(tensor.parameter, tensor.new_parameter);
  copy_four(tensor.m, tensor.new_m);
  copy_four(tensor.v, tensor.new_v);
  if (tensor.weight == nullptr) return;
  store_weight(tensor, load_four(tensor.parameter + first, left), first, left);
}

template <int kMost>
__device__ const AdamWTensor& tensor_of_block(const AdamWTensors<kMost>& tensors, int block) {
  if constexpr (kMost == 1) return tensors.of[0];
  int first = 0, last = tensors.count - 1;
  while (first < last) {
    const int middle = (first + last + 1) / 2;
    if (tensors.of[middle].first_block <= block) {
      first = middle;
    } else {
      last = middle - 1;
    }
  }
  return tensors.of[first];
}

template <int kMost>
__global__ void __launch_bounds__(kThreads)
    update_tensors(const __grid_constant__ AdamWStep step,
                   const __grid_constant__ AdamWTensors<kMost> tensors) {
  const int block = static_cast<int>(blockIdx.x);
  const AdamWTensor tensor = tensor_of_block(tensors, block);
  __shared__ AdamWScalars of_block;
  if (threadIdx.x == 0) of_block = scalars_of(step, tensor.weight_decay);
  sync_block();
  const AdamWScalars scalars = of_block;
  const bool skipped = std::isnan(scalars.gradient_scale);
  const std::int64_t begin =
      (block - tensor.first_block) * kPiece + static_cast<std::int64_t>(threadIdx.x) * kFour;
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t first = begin + std::int64_t{round} * kThreads * kFour;
    if (first >= tensor.elements) return;
    if (skipped) {
      keep(tensor, first);
    } else {
      update(scalars, tensor, first);
    }
  }
}

/// Where a tensor stands among the operands and results.
struct Place {
  std::size_t parameter, gradient, m, v;
  std::size_t new_parameter, new_m, new_v;
  std::optional<std::size_t> weight;
  std::int64_t elements;
  double weight_decay;
};

AdamWTensor tensor_at(const Place& at, const KernelBuffers& buffers, std::int64_t first_block) {
  return {buffers.operand<float>(at.parameter),
          buffers.operand<float>(at.gradient),
          buffers.operand<float>(at.m),
          buffers.operand<float>(at.v),
          buffers.result<float>(at.new_parameter),
          buffers.result<float>(at.new_m),
          buffers.result<float>(at.new_v),
          at.weight ? buffers.result<BFloat16>(*at.weight) : nullptr,
          at.elements,
          at.weight_decay,
          static_cast<std::int32_t>(first_block)};
}

/// A launch for every kMost of them. The scalars are the operands from `scalars` on.
template <int kMost>
void queue(const std::vector<Place>& places, const AdamW& adamw, std::size_t scalars,
           const KernelBuffers& buffers) {
  const AdamWStep step{adamw, buffers.operand<float>(scalars),
                       buffers.operand<std::int64_t>(scalars + 1),
                       buffers.operand<float>(scalars + 2)};
  AdamWTensors<kMost> tensors;
  tensors.count = 0;
  std::int64_t blocks = 0;
  for (const Place& place : places) {
    tensors.of[tensors.count++] = tensor_at(place, buffers, blocks);
    blocks += divide_up(place.elements, kPiece);
    if (tensors.count < kMost && &place != &places.back()) continue;
    launch(update_tensors<kMost>, Grid{blocks, 1, 1, kThreads}, buffers.stream, step, tensors);
    blocks = tensors.count = 0;
  }
}

AdamW adamw_of(const KernelRequest& request) {
  return {request.attributes.real("beta1"), request.attributes.real("beta2"),
          request.attributes.real("epsilon")};
}

std::optional<Declined> decline_others(const KernelRequest& request,
                                       const std::vector<Place>& places) {
  for (const Place& place : places) {
    for (const std::size_t i : {place.parameter, place.gradient, place.m, place.v}) {
      const DType dtype = request.operand(i).dtype;
      if (dtype == DType::fp32) continue;
      return Declined{fmt::format("operand {} is {}; this kernel does fp32", i, name_of(dtype))};
    }
    if (!place.weight) continue;
    const DType dtype = request.results[*place.weight].dtype;
    if (dtype == DType::bf16) continue;
    return Declined{fmt::format("a weight is {}; this kernel makes bf16", name_of(dtype))};
  }
  return std::nullopt;
}

}  // namespace

Prepared adamw_update(const KernelRequest& request) {
  Place place{0,
              1,
              2,
              3,
              0,
              1,
              2,
              {},
              request.operand(0).elements(),
              request.attributes.real("weight_decay")};
  if (request.results.size() > 3) place.weight = 3;
  const std::vector<Place> places{place};
  if (auto declined = decline_others(request, places)) return *declined;
  if (place.elements == 0) return Declined{"no elements"};
  return make_kernel([places, adamw = adamw_of(request)](const KernelBuffers& buffers) {
    queue<1>(places, adamw, 4, buffers);
  });
}

Prepared adamw_update_all(const KernelRequest& request) {
  const auto decays = request.attributes.integers("decays");
  const auto weights = request.attributes.integers("weights");
  const double decay = request.attributes.real("weight_decay");
  std::size_t next_weight = 3 * decays.size();
  std::vector<Place> places;
  for (std::size_t i = 0; i < decays.size(); ++i) {
    const std::size_t o = 3 + 4 * i, r = 3 * i;
    Place place{o,
                o + 1,
                o + 2,
                o + 3,
                r,
                r + 1,
                r + 2,
                {},
                request.operand(o).elements(),
                decays[i] != 0 ? decay : 0.0};
    if (weights[i] != 0) place.weight = next_weight++;
    if (place.elements > 0) places.push_back(place);
  }
  if (auto declined = decline_others(request, places)) return *declined;
  return make_kernel(
      [places = std::move(places), adamw = adamw_of(request)](const KernelBuffers& buffers) {
        queue<kMostTensors>(places, adamw, 0, buffers);
      });
}

}  // namespace bessemer::kernels::cuda

// AdamW (Loshchilov and Hutter, 2019) over any number of tensors.
//
// Of each element four floats are read and three written, and the bf16 weight beside them where one
// is asked for: 28 or 30 bytes, each once, in accesses of 16 and 8 that are contiguous over a warp.
// A bf16 parameter, which is rounded stochastically, makes it 24 bytes and a Philox block for every
// eight elements, which both of its threads make.
// A launch takes as many tensors as its parameters hold. A block does a piece of one of them, large
// enough that what is the same for all its elements costs little, and finds it in a table of first
// blocks: so tensors of any sizes load the device evenly.
#include <fmt/format.h>

#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/rounding.h"
#include "kernels/adamw_scalars.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/cuda/tensor_of_block.cuh"
#include "kernels/stochastic_rounding.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFour = 4;    // elements of a thread at a time
constexpr int kRounds = 8;  // of a block
constexpr std::int64_t kPiece = std::int64_t{kThreads} * kFour * kRounds;

/// What all tensors of a step share.
struct AdamWStep {
  AdamW adamw;
  const float* learning_rate;
  const std::int64_t* step;
  const float* coefficient;
  std::int64_t seed, first;  // of what a bf16 parameter draws; `first` is that of its elements
};

template <typename Parameter>
struct AdamWTensor {
  const Parameter* parameter;
  const float *gradient, *m, *v;
  Parameter* new_parameter;
  float *new_m, *new_v;
  BFloat16* weight;  // the new parameter rounded; null where nobody wants it
  std::int64_t elements;
  double weight_decay;
  std::int32_t first_block;  // of its launch
  std::uint32_t site;
};

template <typename Parameter, int kMost>
struct AdamWTensors {
  AdamWTensor<Parameter> of[kMost];
  std::int32_t count;
};

/// The parameters of a kernel are at most 32764 bytes (CUDA 12.1).
constexpr int kMostTensors = 370;
static_assert(sizeof(AdamWStep) + sizeof(AdamWTensors<float, kMostTensors>) <= 32764);

__device__ double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 != 0) result *= base;
  }
  return result;
}

__device__ AdamWScalars scalars_of(const AdamWStep& all, double weight_decay) {
  const std::int64_t step = *all.step;
  return adamw_scalars(all.adamw, weight_decay, *all.learning_rate, *all.coefficient,
                       [step](double base) { return power(base, step); });
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

__device__ Four<float> to_floats(const Four<float>& four) { return four; }
__device__ Four<float> to_floats(const Four<BFloat16>& four) {
  Four<float> wide;
  for (int i = 0; i < kFour; ++i) wide.at[i] = to_float(four.at[i]);
  return wide;
}

__device__ void store_weight(const AdamWTensor<float>& tensor, const Four<float>& parameter,
                             std::int64_t first, std::int64_t left) {
  if (tensor.weight == nullptr) return;
  Four<BFloat16> weight;
  for (int i = 0; i < kFour; ++i) weight.at[i] = to_bf16(parameter.at[i]);
  store_four(tensor.weight + first, weight, left);
}

__device__ void store_parameter(const AdamWStep& /*step*/, const AdamWTensor<float>& tensor,
                                const Four<float>& parameter, std::int64_t first,
                                std::int64_t left) {
  store_four(tensor.new_parameter + first, parameter, left);
  store_weight(tensor, parameter, first, left);
}
__device__ void store_parameter(const AdamWStep& step, const AdamWTensor<BFloat16>& tensor,
                                const Four<float>& parameter, std::int64_t first,
                                std::int64_t left) {
  const CounterRng rng = rounding_rng(step.seed, *step.step, tensor.site);
  const std::int64_t index = step.first + first;
  const PhiloxCounter words = rng.block(static_cast<std::uint64_t>(index / kElementsOfBlock));
  const bool second = index % kElementsOfBlock != 0;  // half of the block
  const std::uint32_t two[] = {second ? words[2] : words[0], second ? words[3] : words[1]};
  Four<BFloat16> rounded;
  for (int i = 0; i < kFour; ++i) {
    rounded.at[i] = round_stochastically(parameter.at[i], two[i / 2] >> (16 * (i % 2)) & 0xffffu);
  }
  store_four(tensor.new_parameter + first, rounded, left);
}

template <typename Parameter>
__device__ void update(const AdamWStep& step, const AdamWScalars& s,
                       const AdamWTensor<Parameter>& tensor, std::int64_t first) {
  const std::int64_t left = tensor.elements - first;
  Four<float> parameter = to_floats(load_four(tensor.parameter + first, left));
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
  store_parameter(step, tensor, parameter, first, left);
  store_four(tensor.new_m + first, m, left);
  store_four(tensor.new_v + first, v, left);
}

/// Results as the operands were: only copies where they do not share a buffer.
template <typename Parameter>
__device__ void keep(const AdamWTensor<Parameter>& tensor, std::int64_t first) {
  const std::int64_t left = tensor.elements - first;
  const auto copy_four = [=](const auto* from, auto* to) {
    if (from != to) store_four(to + first, load_four(from + first, left), left);
  };
  copy_four(tensor.parameter, tensor.new_parameter);
  copy_four(tensor.m, tensor.new_m);
  copy_four(tensor.v, tensor.new_v);
  if constexpr (std::is_same_v<Parameter, float>) {
    if (tensor.weight == nullptr) return;
    store_weight(tensor, load_four(tensor.parameter + first, left), first, left);
  }
}

template <typename Parameter, int kMost>
__device__ const AdamWTensor<Parameter>& tensor_at_block(
    const AdamWTensors<Parameter, kMost>& tensors, int block) {
  if constexpr (kMost == 1) return tensors.of[0];
  return tensors.of[tensor_of_block(tensors.of, tensors.count, block)];
}

template <typename Parameter, int kMost>
__global__ void __launch_bounds__(kThreads)
    update_tensors(const __grid_constant__ AdamWStep step,
                   const __grid_constant__ AdamWTensors<Parameter, kMost> tensors) {
  const int block = static_cast<int>(blockIdx.x);
  const AdamWTensor<Parameter> tensor = tensor_at_block(tensors, block);
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
      update(step, scalars, tensor, first);
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
  std::int64_t site;
};

template <typename Parameter>
AdamWTensor<Parameter> tensor_at(const Place& at, const KernelBuffers& buffers,
                                 std::int64_t first_block) {
  return {buffers.operand<Parameter>(at.parameter),
          buffers.operand<float>(at.gradient),
          buffers.operand<float>(at.m),
          buffers.operand<float>(at.v),
          buffers.result<Parameter>(at.new_parameter),
          buffers.result<float>(at.new_m),
          buffers.result<float>(at.new_v),
          at.weight ? buffers.result<BFloat16>(*at.weight) : nullptr,
          at.elements,
          at.weight_decay,
          static_cast<std::int32_t>(first_block),
          static_cast<std::uint32_t>(at.site)};
}

/// What is the same for all tensors of a request.
struct Common {
  AdamW adamw;
  std::int64_t seed, first;
  std::size_t scalars;  // operands from there on
};

/// A launch for every kMost of them.
template <typename Parameter, int kMost>
void queue(const std::vector<Place>& places, const Common& common, const KernelBuffers& buffers) {
  const AdamWStep step{common.adamw,
                       buffers.operand<float>(common.scalars),
                       buffers.operand<std::int64_t>(common.scalars + 1),
                       buffers.operand<float>(common.scalars + 2),
                       common.seed,
                       common.first};
  AdamWTensors<Parameter, kMost> tensors;
  tensors.count = 0;
  std::int64_t blocks = 0;
  for (const Place& place : places) {
    tensors.of[tensors.count++] = tensor_at<Parameter>(place, buffers, blocks);
    blocks += divide_up(place.elements, kPiece);
    if (tensors.count < kMost && &place != &places.back()) continue;
    launch(update_tensors<Parameter, kMost>, Grid{blocks, 1, 1, kThreads}, buffers.stream, step,
           tensors);
    blocks = tensors.count = 0;
  }
}

Common common_of(const KernelRequest& request, std::size_t scalars) {
  const Attributes& a = request.attributes;
  return {{a.real("beta1"), a.real("beta2"), a.real("epsilon")},
          a.integer("seed", 0),
          a.integer("first", 0),
          scalars};
}

std::optional<Declined> decline_others(const KernelRequest& request,
                                       const std::vector<Place>& places) {
  for (const Place& place : places) {
    for (const std::size_t i : {place.parameter, place.gradient, place.m, place.v}) {
      const DType dtype = request.operand(i).dtype;
      if (dtype == DType::fp32 || (dtype == DType::bf16 && i == place.parameter)) continue;
      return Declined{fmt::format("operand {} is {}; this kernel does fp32", i, name_of(dtype))};
    }
    if (!place.weight) continue;
    const DType dtype = request.results[*place.weight].dtype;
    if (dtype == DType::bf16) continue;
    return Declined{fmt::format("a weight is {}; this kernel makes bf16", name_of(dtype))};
  }
  return std::nullopt;
}

/// `kMost` tensors a launch.
template <int kMost>
Prepared prepare(const KernelRequest& request, std::vector<Place> places, std::size_t scalars) {
  if (auto declined = decline_others(request, places)) return *declined;
  if (places.empty()) return Declined{"no elements"};
  const Common common = common_of(request, scalars);
  if (common.first % kFour != 0)
    return Declined{"it begins amid elements that a thread takes together"};
  const bool rounds = request.operand(places.front().parameter).dtype == DType::bf16;
  return make_kernel([places = std::move(places), common, rounds](const KernelBuffers& buffers) {
    if (rounds) {
      queue<BFloat16, kMost>(places, common, buffers);
    } else {
      queue<float, kMost>(places, common, buffers);
    }
  });
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
              request.attributes.real("weight_decay"),
              request.attributes.integer("site", 0)};
  if (request.results.size() > 3) place.weight = 3;
  std::vector<Place> places;
  if (place.elements > 0) places.push_back(place);
  return prepare<1>(request, std::move(places), 4);
}

Prepared adamw_update_all(const KernelRequest& request) {
  const auto decays = request.attributes.integers("decays");
  const auto weights = request.attributes.integers("weights");
  const auto sites = request.attributes.integers("sites", std::vector<std::int64_t>(decays.size()));
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
                decays[i] != 0 ? decay : 0.0,
                sites[i]};
    if (weights[i] != 0) place.weight = next_weight++;
    if (place.elements > 0) places.push_back(place);
  }
  return prepare<kMostTensors>(request, std::move(places), 0);
}

}  // namespace bessemer::kernels::cuda

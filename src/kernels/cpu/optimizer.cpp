// AdamW (Loshchilov and Hutter, 2019) in one pass over parameter, gradient and moments, and the
// global norm of the gradients.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "kernels/cpu/simd.h"

#include "kernels/cpu/random_words-inl.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "kernels/adamw_scalars.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/cpu/strided_copy.h"
#include "base/rounding.h"
#include "kernels/norm_block.h"
#include "kernels/stochastic_rounding.h"

#ifndef BESSEMER_KERNELS_CPU_OPTIMIZER_ARGUMENTS
#define BESSEMER_KERNELS_CPU_OPTIMIZER_ARGUMENTS
namespace bessemer::kernels::cpu {

template <typename Parameter>
struct AdamWBuffers {
  const Parameter* parameter;
  const float* gradient;
  const float* m;
  const float* v;
  Parameter* new_parameter;
  float* new_m;
  float* new_v;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

/// store(i, parameter, access) takes the new parameters.
template <typename Parameter, typename Store>
HWY_INLINE void update_range(const AdamWScalars& scalars, const AdamWBuffers<Parameter>& buffers,
                             std::int64_t begin, std::int64_t end, const Store& store) {
  const FloatTag d;
  const auto gradient_scale = hn::Set(d, scalars.gradient_scale), decay = hn::Set(d, scalars.decay);
  const auto mean_weight = hn::Set(d, scalars.mean_weight), beta2 = hn::Set(d, scalars.beta2);
  const auto square_weight = hn::Set(d, scalars.square_weight);
  const auto inverse_root = hn::Set(d, scalars.inverse_root_correction);
  const auto epsilon = hn::Set(d, scalars.epsilon), step_size = hn::Set(d, scalars.step_size);
  // The hardware's own prefetch starts anew at every page of every one of the four streams.
  constexpr std::int64_t kAhead = 512;
  for_each_vector(begin, end, [&](std::int64_t i, auto access) {
    hwy::Prefetch(buffers.parameter + i + kAhead);
    for (const float* stream : {buffers.gradient, buffers.m, buffers.v}) {
      hwy::Prefetch(stream + i + kAhead);
    }
    const auto g = hn::Mul(access.load(buffers.gradient + i), gradient_scale);
    const auto old_m = access.load(buffers.m + i);
    const auto m = hn::MulAdd(mean_weight, hn::Sub(g, old_m), old_m);
    const auto v =
        hn::MulAdd(hn::Mul(g, g), square_weight, hn::Mul(beta2, access.load(buffers.v + i)));
    const auto denominator = hn::MulAdd(hn::Sqrt(v), inverse_root, epsilon);
    const auto parameter = hn::NegMulAdd(step_size, hn::Div(m, denominator),
                                         hn::Mul(access.load(buffers.parameter + i), decay));
    store(i, parameter, access);
    access.store(m, buffers.new_m + i);
    access.store(v, buffers.new_v + i);
  });
}

/// `weight`: the new parameter rounded; null where nobody wants it.
void update(const AdamWScalars& scalars, const AdamWBuffers<float>& buffers, BFloat16* weight,
            std::int64_t begin, std::int64_t end) {
  update_range(scalars, buffers, begin, end, [&](std::int64_t i, FloatVec parameter, auto access) {
    access.store(parameter, buffers.new_parameter + i);
    if (weight != nullptr) access.store(parameter, weight + i);
  });
}

/// As kernels::round_stochastically; the result is a bf16 number.
HWY_INLINE FloatVec rounded_by(FloatVec x, const std::uint16_t* random) {
  const WordTag d;
  const auto bits = hn::PromoteTo(d, hn::LoadU(HalfTag(), random));
  const auto sum = hn::Add(hn::BitCast(d, x), bits);
  const auto rounded = hn::BitCast(FloatTag(), hn::And(sum, hn::Set(d, 0xffff0000u)));
  return hn::IfThenElse(hn::IsFinite(x), rounded, x);
}

/// Of [begin, end), whose first element is number `index` of the tensor, the first of a block.
void update_rounded(const AdamWScalars& scalars, const AdamWBuffers<BFloat16>& buffers,
                    const CounterRng& rng, std::uint64_t index, std::int64_t begin,
                    std::int64_t end) {
  constexpr std::int64_t kAtOnce = 2 * kRandomWords;
  HWY_ALIGN std::uint32_t words[kRandomWords];
  const auto* const random = reinterpret_cast<const std::uint16_t*>(words);
  for (; begin < end; begin += kAtOnce, index += kAtOnce) {
    random_words(rng, index / kElementsOfBlock, words);
    const auto store = [&](std::int64_t i, FloatVec parameter, auto access) {
      access.store(rounded_by(parameter, random + (i - begin)), buffers.new_parameter + i);
    };
    update_range(scalars, buffers, begin, std::min(end, begin + kAtOnce), store);
  }
}

void round_all(const float* x, BFloat16* rounded, std::int64_t begin, std::int64_t end) {
  for_each_vector(begin, end, [&](std::int64_t i, auto access) {
    access.store(access.load(x + i), rounded + i);
  });
}

using DoubleTag = hn::ScalableTag<double>;

HWY_INLINE hn::Vec<DoubleTag> load_fp64(const float* x) {
  const hn::Rebind<float, DoubleTag> narrow;
  return hn::PromoteTo(DoubleTag(), hn::LoadU(narrow, x));
}

HWY_INLINE hn::Vec<DoubleTag> load_fp64(const BFloat16* x) {
  const hn::Rebind<float, DoubleTag> narrow;
  const hn::Rebind<std::uint32_t, DoubleTag> words;
  const hn::Rebind<std::uint16_t, DoubleTag> halves;
  const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, &x->bits)));
  return hn::PromoteTo(DoubleTag(), hn::BitCast(narrow, bits));
}

template <typename T>
double squares(const T* x, std::int64_t count) {
  const DoubleTag d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * step <= count; i += 4 * step) {
    const auto x0 = load_fp64(x + i), x1 = load_fp64(x + i + step);
    const auto x2 = load_fp64(x + i + 2 * step), x3 = load_fp64(x + i + 3 * step);
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < count; ++i) {
    const double value = static_cast<float>(x[i]);
    sum += value * value;
  }
  return sum;
}

double sum_of_squares(const void* x, DType dtype, std::int64_t begin, std::int64_t count) {
  return dtype == DType::bf16 ? squares(static_cast<const BFloat16*>(x) + begin, count)
                              : squares(static_cast<const float*>(x) + begin, count);
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(update);
HWY_EXPORT(update_rounded);
HWY_EXPORT(round_all);
HWY_EXPORT(sum_of_squares);

/// What a run of adamw_update works on.
struct AdamWCall {
  AdamW adamw;
  double weight_decay;
  std::int64_t elements;
  bool makes_weight;
  std::int64_t seed, site, first;  // of the random bits that a bf16 parameter draws

  AdamWScalars scalars(const KernelBuffers& buffers) const {
    const auto step = static_cast<double>(count(buffers));
    return adamw_scalars(adamw, weight_decay, double{*buffers.operand<float>(4)},
                         *buffers.operand<float>(6),
                         [step](double base) { return std::pow(base, step); });
  }
  static std::int64_t count(const KernelBuffers& buffers) {
    return *buffers.operand<std::int64_t>(5);
  }
  static bool is_skipped(const KernelBuffers& buffers) {
    return std::isnan(*buffers.operand<float>(6));
  }
};

template <typename Parameter>
AdamWBuffers<Parameter> pointers_of(const KernelBuffers& buffers) {
  return {buffers.operand<Parameter>(0), buffers.operand<float>(1),    buffers.operand<float>(2),
          buffers.operand<float>(3),     buffers.result<Parameter>(0), buffers.result<float>(1),
          buffers.result<float>(2)};
}

/// Results as the operands were: only copies where they do not share a buffer. The weight, if any,
/// is that of the parameter.
template <typename Parameter>
void keep_unchanged(const KernelBuffers& buffers, const AdamWCall& call) {
  constexpr std::size_t operand_of[] = {0, 2, 3};
  for (std::size_t r = 0; r < 3; ++r) {
    const auto size = static_cast<std::int64_t>(r == 0 ? sizeof(Parameter) : sizeof(float));
    const auto* from = buffers.operand<std::byte>(operand_of[r]);
    auto* to = buffers.result<std::byte>(r);
    const std::int64_t bytes = call.elements * size;
    if (from != to) copy_rows(from, bytes, to, bytes, 1, bytes);
  }
  if (!call.makes_weight) return;
  parallel_for(call.elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(round_all)
    (buffers.operand<float>(0), buffers.result<BFloat16>(3), begin, end);
  });
}

Prepared wide_update(const AdamWCall& call) {
  return make_kernel([call](const KernelBuffers& buffers) {
    if (AdamWCall::is_skipped(buffers)) return keep_unchanged<float>(buffers, call);
    const AdamWScalars scalars = call.scalars(buffers);
    const auto pointers = pointers_of<float>(buffers);
    BFloat16* const weight = call.makes_weight ? buffers.result<BFloat16>(3) : nullptr;
    parallel_for(call.elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(update)(scalars, pointers, weight, begin, end);
    });
  });
}

/// Threads begin where a block of random words does.
Prepared rounded_update(const AdamWCall& call) {
  return make_kernel([call](const KernelBuffers& buffers) {
    if (AdamWCall::is_skipped(buffers)) return keep_unchanged<BFloat16>(buffers, call);
    const AdamWScalars scalars = call.scalars(buffers);
    const auto pointers = pointers_of<BFloat16>(buffers);
    const CounterRng rng = rounding_rng(call.seed, AdamWCall::count(buffers), call.site);
    const std::int64_t blocks = divide_up(call.elements, kElementsOfBlock);
    parallel_for(blocks, kGrain / kElementsOfBlock, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t begin = first * kElementsOfBlock;
      const std::int64_t end = std::min(last * kElementsOfBlock, call.elements);
      const auto index = static_cast<std::uint64_t>(call.first + begin);
      HWY_DYNAMIC_DISPATCH(update_rounded)(scalars, pointers, rng, index, begin, end);
    });
  });
}

/// A piece of one operand of global_norm.
struct NormBlock {
  std::size_t operand;
  DType dtype;
  std::int64_t begin;
  std::int64_t count;
};

}  // namespace

Prepared adamw_update(const KernelRequest& request) {
  const bool rounds = request.operand(0).dtype == DType::bf16;
  for (std::size_t i = rounds ? 1 : 0; i < 4; ++i) {
    if (request.operand(i).dtype != DType::fp32) {
      return Declined{fmt::format("operand {} is {}; this kernel does fp32", i,
                                  name_of(request.operand(i).dtype))};
    }
  }
  const Attributes& attributes = request.attributes;
  const AdamWCall call{
      {attributes.real("beta1"), attributes.real("beta2"), attributes.real("epsilon")},
      attributes.real("weight_decay"),
      request.operand(0).elements(),
      request.results.size() > 3,
      attributes.integer("seed", 0),
      attributes.integer("site", 0),
      attributes.integer("first", 0)};
  if (call.makes_weight && request.results[3].dtype != DType::bf16) {
    return Declined{
        fmt::format("the weight is {}; this kernel makes bf16", name_of(request.results[3].dtype))};
  }
  if (call.first % kElementsOfBlock != 0) return Declined{"it begins amid a block of random words"};
  return rounds ? rounded_update(call) : wide_update(call);
}

Prepared sum_of_squares(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  if (!is_fp32_or_bf16(x.dtype)) {
    return Declined{fmt::format("x is {}; this kernel does fp32 and bf16", name_of(x.dtype))};
  }
  return make_kernel([elements = x.elements(), dtype = x.dtype](const KernelBuffers& buffers) {
    parallel_for(norm_blocks(elements), 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t b = first; b < last; ++b) {
        const std::int64_t begin = b * kNormBlock;
        buffers.result<double>(0)[b] = HWY_DYNAMIC_DISPATCH(sum_of_squares)(
            buffers.operand<void>(0), dtype, begin, std::min(kNormBlock, elements - begin));
      }
    });
  });
}

Prepared norm_of_sums(const KernelRequest& request) {
  if (request.results[0].dtype != DType::fp32) return Declined{"the norm is not fp32"};
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    counts.push_back(request.operand(i).elements());
  }
  return make_kernel([counts = std::move(counts)](const KernelBuffers& buffers) {
    double sum = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      for (std::int64_t b = 0; b < counts[i]; ++b) sum += buffers.operand<double>(i)[b];
    }
    *buffers.result<float>(0) = static_cast<float>(std::sqrt(sum));
  });
}

Prepared global_norm(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  std::vector<NormBlock> blocks;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    const std::int64_t elements = request.operand(i).elements();
    for (std::int64_t begin = 0; begin < elements; begin += kNormBlock) {
      blocks.push_back(
          {i, request.operand(i).dtype, begin, std::min(kNormBlock, elements - begin)});
    }
  }
  if (request.results[0].dtype != DType::fp32) return Declined{"the norm is not fp32"};
  const std::size_t scratch = blocks.size() * sizeof(double);
  return make_kernel(
      [blocks = std::move(blocks)](const KernelBuffers& buffers) {
        auto* sums = static_cast<double*>(buffers.scratch);
        const auto count = static_cast<std::int64_t>(blocks.size());
        parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t b = begin; b < end; ++b) {
            const NormBlock& block = blocks[static_cast<std::size_t>(b)];
            sums[b] = HWY_DYNAMIC_DISPATCH(sum_of_squares)(buffers.operand<void>(block.operand),
                                                           block.dtype, block.begin, block.count);
          }
        });
        double sum = 0;
        for (std::int64_t b = 0; b < count; ++b) sum += sums[b];
        *buffers.result<float>(0) = static_cast<float>(std::sqrt(sum));
      },
      scratch);
}

}  // namespace bessemer::kernels::cpu
#endif

// AdamW (Loshchilov and Hutter, 2019) in one pass over parameter, gradient and moments, and the
// global norm of the gradients.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "kernels/cpu/simd.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/norm_block.h"

#ifndef BESSEMER_KERNELS_CPU_OPTIMIZER_ARGUMENTS
#define BESSEMER_KERNELS_CPU_OPTIMIZER_ARGUMENTS
namespace bessemer::kernels::cpu {

/// What is the same for all elements of a step.
struct AdamWStep {
  float gradient_scale;  // the clip coefficient
  float decay;           // 1 - learning rate * weight decay
  float mean_weight;     // 1 - beta1
  float beta2;
  float square_weight;            // 1 - beta2
  float inverse_root_correction;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
  float step_size;  // learning rate / (1 - beta1^step)
};

struct AdamWBuffers {
  const float* parameter;
  const float* gradient;
  const float* m;
  const float* v;
  float* new_parameter;
  float* new_m;
  float* new_v;
  BFloat16* weight;  // the new parameter rounded; null where nobody wants it
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

void update(const AdamWStep& step, const AdamWBuffers& buffers, std::int64_t begin,
            std::int64_t end) {
  const FloatTag d;
  const auto gradient_scale = hn::Set(d, step.gradient_scale), decay = hn::Set(d, step.decay);
  const auto mean_weight = hn::Set(d, step.mean_weight), beta2 = hn::Set(d, step.beta2);
  const auto square_weight = hn::Set(d, step.square_weight);
  const auto inverse_root = hn::Set(d, step.inverse_root_correction);
  const auto epsilon = hn::Set(d, step.epsilon), step_size = hn::Set(d, step.step_size);
  // The hardware's own prefetch starts anew at every page of every one of the four streams.
  constexpr std::int64_t kAhead = 512;
  for_each_vector(begin, end, [&](std::int64_t i, auto access) {
    for (const float* stream : {buffers.parameter, buffers.gradient, buffers.m, buffers.v}) {
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
    access.store(parameter, buffers.new_parameter + i);
    if (buffers.weight != nullptr) access.store(parameter, buffers.weight + i);
    access.store(m, buffers.new_m + i);
    access.store(v, buffers.new_v + i);
  });
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
HWY_EXPORT(round_all);
HWY_EXPORT(sum_of_squares);

struct AdamW {
  double beta1, beta2, epsilon, weight_decay;

  AdamWStep at(double learning_rate, double step, double coefficient) const {
    AdamWStep s{};
    s.gradient_scale = static_cast<float>(coefficient);
    s.decay = static_cast<float>(1 - learning_rate * weight_decay);
    s.mean_weight = static_cast<float>(1 - beta1);
    s.beta2 = static_cast<float>(beta2);
    s.square_weight = static_cast<float>(1 - beta2);
    s.inverse_root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, step)));
    s.epsilon = static_cast<float>(epsilon);
    s.step_size = static_cast<float>(learning_rate / (1 - std::pow(beta1, step)));
    return s;
  }
};

/// Results as the operands were: only copies where they do not share a buffer. The weight, if any,
/// is that of the parameter.
void keep_unchanged(const KernelBuffers& buffers, std::int64_t elements, bool makes_weight) {
  constexpr std::size_t operand_of[] = {0, 2, 3};
  const auto bytes = elements * static_cast<std::int64_t>(sizeof(float));
  for (std::size_t r = 0; r < 3; ++r) {
    const auto* from = buffers.operand<std::byte>(operand_of[r]);
    auto* to = buffers.result<std::byte>(r);
    if (from != to) copy_rows(from, bytes, to, bytes, 1, bytes);
  }
  if (!makes_weight) return;
  parallel_for(elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(round_all)
    (buffers.operand<float>(0), buffers.result<BFloat16>(3), begin, end);
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
  for (std::size_t i = 0; i < 4; ++i) {
    if (request.operand(i).dtype != DType::fp32) {
      return Declined{fmt::format("operand {} is {}; this kernel does fp32", i,
                                  name_of(request.operand(i).dtype))};
    }
  }
  const AdamW adamw{request.attributes.real("beta1"), request.attributes.real("beta2"),
                    request.attributes.real("epsilon"), request.attributes.real("weight_decay")};
  const bool makes_weight = request.results.size() > 3;
  if (makes_weight && request.results[3].dtype != DType::bf16) {
    return Declined{
        fmt::format("the weight is {}; this kernel makes bf16", name_of(request.results[3].dtype))};
  }
  const std::int64_t elements = request.operand(0).elements();
  return make_kernel([adamw, elements, makes_weight](const KernelBuffers& buffers) {
    const float coefficient = *buffers.operand<float>(6);
    if (std::isnan(coefficient)) return keep_unchanged(buffers, elements, makes_weight);
    const auto step = static_cast<double>(*buffers.operand<std::int64_t>(5));
    const AdamWStep values = adamw.at(double{*buffers.operand<float>(4)}, step, coefficient);
    const AdamWBuffers pointers{
        buffers.operand<float>(0), buffers.operand<float>(1),
        buffers.operand<float>(2), buffers.operand<float>(3),
        buffers.result<float>(0),  buffers.result<float>(1),
        buffers.result<float>(2),  makes_weight ? buffers.result<BFloat16>(3) : nullptr};
    parallel_for(elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(update)(values, pointers, begin, end);
    });
  });
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

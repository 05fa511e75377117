// Layer norm (Ba, Kiros and Hinton, 2016) and RMS norm (Zhang and Sennrich, 2019), forward and
// backward. RMS norm is layer norm with mean 0 and no bias, so both share their loops.
//
// Forward reads a row from memory once: sum, sum of squared deviations and result are three passes
// over a row that the first brought into L1. Backward likewise makes two. The gradients of gain and
// bias are summed over fixed blocks of rows (RowBlocks), so they do not depend on the thread count.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cpp"
#include "kernels/cpu/simd.h"

#include <cmath>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"

#ifndef BESSEMER_KERNELS_CPU_NORM_ARGUMENTS
#define BESSEMER_KERNELS_CPU_NORM_ARGUMENTS
namespace bessemer::kernels::cpu {

/// x, y: [rows, width] of `dtype`; gain, bias: [width], bias null where absent; mean, rstd: [rows],
/// mean null for RMS norm.
struct NormForward {
  DType dtype;
  std::int64_t width;
  float epsilon;
  const void* x;
  const float* gain;
  const float* bias;
  void* y;
  float* mean;
  float* rstd;
};

/// dy, x, addend, dx: [rows, width] of `dtype`, addend null where absent; partials: [blocks, width]
/// for gain and, where mean is given, for bias.
struct NormBackward {
  DType dtype;
  std::int64_t width;
  const void* dy;
  const void* x;
  const float* gain;
  const float* mean;
  const float* rstd;
  const void* addend;
  void* dx;
  float* gain_partials;
  float* bias_partials;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

template <typename T>
void forward_row(const NormForward& args, std::int64_t row) {
  const FloatTag d;
  const std::int64_t width = args.width;
  const T* x = static_cast<const T*>(args.x) + row * width;
  T* y = static_cast<T*>(args.y) + row * width;
  const float inverse_width = 1.0f / static_cast<float>(width);
  float mean = 0;
  if (args.mean != nullptr) {
    mean = inverse_width *
           sum_vectors(0, width, [&](std::int64_t i, auto access) { return access.load(x + i); });
    args.mean[row] = mean;
  }
  const auto means = hn::Set(d, mean);
  const float squares = sum_vectors(0, width, [&](std::int64_t i, auto access) {
    const auto deviation = hn::Sub(access.load(x + i), means);
    return hn::Mul(deviation, deviation);
  });
  const float rstd = 1.0f / std::sqrt(squares * inverse_width + args.epsilon);
  args.rstd[row] = rstd;
  const auto scales = hn::Set(d, rstd);
  const float* gain = args.gain;
  if (const float* bias = args.bias) {
    for_each_vector(0, width, [&](std::int64_t i, auto access) {
      const auto normal = hn::Mul(hn::Sub(access.load(x + i), means), scales);
      access.store(hn::MulAdd(normal, access.load(gain + i), access.load(bias + i)), y + i);
    });
  } else {
    for_each_vector(0, width, [&](std::int64_t i, auto access) {
      const auto normal = hn::Mul(hn::Sub(access.load(x + i), means), scales);
      access.store(hn::Mul(normal, access.load(gain + i)), y + i);
    });
  }
}

void forward_rows(const NormForward& args, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    if (args.dtype == DType::bf16) {
      forward_row<BFloat16>(args, row);
    } else {
      forward_row<float>(args, row);
    }
  }
}

/// Means over a row of g and g * normal, where g = dy * gain and normal = (x - mean) * rstd.
struct RowMeans {
  float gradient;
  float projection;
};

/// First pass over a row: its means; adds dy * normal to gain_sum and, for layer norm, dy to
/// bias_sum.
template <bool kCentred, typename T>
RowMeans reduce_row(const NormBackward& args, const T* dy, const T* x, FloatVec mean, FloatVec rstd,
                    float* gain_sum, float* bias_sum) {
  const FloatTag d;
  auto gradients = hn::Zero(d), projections = hn::Zero(d);
  for_each_vector(0, args.width, [&](std::int64_t i, auto access) {
    const auto dy_i = access.load(dy + i);
    const auto normal = hn::Mul(hn::Sub(access.load(x + i), mean), rstd);
    const auto g = hn::Mul(dy_i, access.load(args.gain + i));
    projections = hn::MulAdd(g, normal, projections);
    access.store(hn::MulAdd(dy_i, normal, access.load(gain_sum + i)), gain_sum + i);
    if constexpr (kCentred) {
      gradients = hn::Add(gradients, g);
      access.store(hn::Add(dy_i, access.load(bias_sum + i)), bias_sum + i);
    }
  });
  const float inverse_width = 1.0f / static_cast<float>(args.width);
  return {sum_of_lanes(gradients) * inverse_width, sum_of_lanes(projections) * inverse_width};
}

template <bool kCentred, typename T>
void backward_row(const NormBackward& args, std::int64_t row, float* gain_sum, float* bias_sum) {
  const FloatTag d;
  const std::int64_t offset = row * args.width;
  const T* dy = static_cast<const T*>(args.dy) + offset;
  const T* x = static_cast<const T*>(args.x) + offset;
  T* dx = static_cast<T*>(args.dx) + offset;
  const T* addend = args.addend ? static_cast<const T*>(args.addend) + offset : nullptr;
  const auto mean = hn::Set(d, kCentred ? args.mean[row] : 0.0f);
  const auto rstd = hn::Set(d, args.rstd[row]);
  const RowMeans means = reduce_row<kCentred>(args, dy, x, mean, rstd, gain_sum, bias_sum);
  const auto gradient = hn::Set(d, means.gradient), projection = hn::Set(d, means.projection);
  const auto slope = [&](std::int64_t i, auto access) {
    const auto normal = hn::Mul(hn::Sub(access.load(x + i), mean), rstd);
    const auto g = hn::MulSub(access.load(dy + i), access.load(args.gain + i), gradient);
    return hn::NegMulAdd(normal, projection, g);
  };
  if (addend != nullptr) {
    for_each_vector(0, args.width, [&](std::int64_t i, auto access) {
      access.store(hn::MulAdd(slope(i, access), rstd, access.load(addend + i)), dx + i);
    });
  } else {
    for_each_vector(0, args.width, [&](std::int64_t i, auto access) {
      access.store(hn::Mul(slope(i, access), rstd), dx + i);
    });
  }
}

template <bool kCentred, typename T>
void backward_rows(const NormBackward& args, const RowBlocks& blocks, std::int64_t block) {
  float* gain_sum = args.gain_partials + block * args.width;
  float* bias_sum = kCentred ? args.bias_partials + block * args.width : nullptr;
  const std::size_t bytes = static_cast<std::size_t>(args.width) * sizeof(float);
  std::memset(gain_sum, 0, bytes);
  if (kCentred) std::memset(bias_sum, 0, bytes);
  for (std::int64_t row = blocks.begin(block); row < blocks.end(block); ++row) {
    backward_row<kCentred, T>(args, row, gain_sum, bias_sum);
  }
}

void backward_block(const NormBackward& args, const RowBlocks& blocks, std::int64_t block) {
  const bool centred = args.mean != nullptr;
  if (args.dtype == DType::bf16) {
    centred ? backward_rows<true, BFloat16>(args, blocks, block)
            : backward_rows<false, BFloat16>(args, blocks, block);
  } else {
    centred ? backward_rows<true, float>(args, blocks, block)
            : backward_rows<false, float>(args, blocks, block);
  }
}

void sum_norm_partials(const float* partials, std::int64_t count, std::int64_t width, float* out,
                       std::int64_t begin, std::int64_t end) {
  sum_partials(partials, count, width, out, begin, end);
}

void widen_bf16(const BFloat16* from, float* to, std::int64_t count) {
  for_each_vector(
      0, count, [&](std::int64_t i, auto access) { access.store(access.load(from + i), to + i); });
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_block);
HWY_EXPORT(sum_norm_partials);
HWY_EXPORT(widen_bf16);

/// A parameter vector as fp32: itself, or widened into `space`. Null stays null.
const float* as_fp32(const void* parameter, DType dtype, std::int64_t width, float* space) {
  if (parameter == nullptr || dtype == DType::fp32) return static_cast<const float*>(parameter);
  HWY_DYNAMIC_DISPATCH(widen_bf16)(static_cast<const BFloat16*>(parameter), space, width);
  return space;
}

std::int64_t rows_at_least(std::int64_t width) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
}

Prepared forward(const KernelRequest& request, bool centred) {
  if (auto declined = decline_other_floats(request)) return *declined;
  if (request.attributes.boolean("measure", false)) return Declined{"this kernel measures nothing"};
  const TensorType& x = request.operand(0);
  const DType dtype = x.dtype;
  const std::int64_t width = x.dim(-1);
  const std::int64_t rows = width > 0 ? x.elements() / width : 0;
  const auto epsilon = static_cast<float>(request.attributes.real("epsilon"));
  const DType gain_dtype = request.operand(1).dtype;
  const DType bias_dtype = request.has_operand(2) ? request.operand(2).dtype : DType::fp32;
  const std::size_t widened = float_bytes(width);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* space = static_cast<std::byte*>(buffers.scratch);
        NormForward args{};
        args.dtype = dtype;
        args.width = width;
        args.epsilon = epsilon;
        args.x = buffers.operand<void>(0);
        args.gain =
            as_fp32(buffers.operand<void>(1), gain_dtype, width, reinterpret_cast<float*>(space));
        args.bias = as_fp32(buffers.operand<void>(2), bias_dtype, width,
                            reinterpret_cast<float*>(space + widened));
        args.y = buffers.result<void>(0);
        args.mean = centred ? buffers.result<float>(1) : nullptr;
        args.rstd = buffers.result<float>(centred ? 2 : 1);
        parallel_for(rows, rows_at_least(width), [&](std::int64_t begin, std::int64_t end) {
          HWY_DYNAMIC_DISPATCH(forward_rows)(args, begin, end);
        });
      },
      2 * widened);
}

/// Operands: dy, x, gain, mean (layer norm only), rstd, addend?.
Prepared backward(const KernelRequest& request, bool centred) {
  if (auto declined = decline_other_floats(request)) return *declined;
  if (request.attributes.boolean("measure", false)) return Declined{"this kernel measures nothing"};
  const TensorType& x = request.operand(1);
  const DType dtype = x.dtype;
  const std::int64_t width = x.dim(-1);
  const RowBlocks blocks(width > 0 ? x.elements() / width : 0);
  const DType gain_dtype = request.operand(2).dtype;
  const std::size_t rstd_operand = centred ? 4 : 3;
  const std::size_t widened = float_bytes(width);
  const std::size_t partials = float_bytes(blocks.count * width);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* space = static_cast<std::byte*>(buffers.scratch);
        NormBackward args{};
        args.dtype = dtype;
        args.width = width;
        args.dy = buffers.operand<void>(0);
        args.x = buffers.operand<void>(1);
        args.gain =
            as_fp32(buffers.operand<void>(2), gain_dtype, width, reinterpret_cast<float*>(space));
        args.mean = centred ? buffers.operand<float>(3) : nullptr;
        args.rstd = buffers.operand<float>(rstd_operand);
        args.addend = buffers.operand<void>(rstd_operand + 1);
        args.dx = buffers.result<void>(0);
        args.gain_partials = reinterpret_cast<float*>(space + widened);
        args.bias_partials = reinterpret_cast<float*>(space + widened + partials);
        const std::int64_t grain =
            std::max<std::int64_t>(1, rows_at_least(width) / blocks.block_rows);
        parallel_for(blocks.count, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t b = begin; b < end; ++b) {
            HWY_DYNAMIC_DISPATCH(backward_block)(args, blocks, b);
          }
        });
        parallel_for(width, 256, [&](std::int64_t begin, std::int64_t end) {
          const auto sum = HWY_DYNAMIC_DISPATCH(sum_norm_partials);
          sum(args.gain_partials, blocks.count, width, buffers.result<float>(1), begin, end);
          if (!centred) return;
          sum(args.bias_partials, blocks.count, width, buffers.result<float>(2), begin, end);
        });
      },
      widened + (centred ? 2 : 1) * partials);
}

}  // namespace

Prepared layer_norm(const KernelRequest& request) { return forward(request, true); }
Prepared layer_norm_grad(const KernelRequest& request) { return backward(request, true); }
Prepared rms_norm(const KernelRequest& request) { return forward(request, false); }
Prepared rms_norm_grad(const KernelRequest& request) { return backward(request, false); }

}  // namespace bessemer::kernels::cpu
#endif

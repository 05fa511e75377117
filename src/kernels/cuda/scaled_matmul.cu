// scaled_matmul: 2mnk flops of fp8 operands on the tensor cores (product.h), which apply the
// scales; an fp32 bias is rounded to bf16 first, as in matmul.
//
// Where there is no such product, the operands are brought to bf16 in scratch, 3 bytes an element,
// and multiplied there. Both formats are subsets of bf16, so with one scale for a tensor nothing is
// lost: a pass over the sum in fp32 multiplies it by both scales and adds bias and addend. With
// blocks the scales go into the operands, which are rounded to bf16: an error of 2^-9 in numbers
// that have 2^-4 already.
#include <fmt/format.h>

#include "base/arena.h"
#include "base/rounding.h"
#include "kernels/cuda/bias.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/product.h"
#include "kernels/fp8.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda {
namespace {

enum Operand { kA, kScaleA, kB, kScaleB, kBias, kAddend };

std::size_t bytes_of(std::int64_t elements, DType dtype) {
  return align_up(static_cast<std::size_t>(elements) * size_of(dtype));
}

ProductSpec product_of(const KernelRequest& request) {
  const MatrixSize a = matrix_size(request.operand(kA)), b = matrix_size(request.operand(kB));
  ProductSpec spec{.m = a.rows, .n = b.rows, .k = a.columns};
  spec.a = request.operand(kA).dtype, spec.b = request.operand(kB).dtype;
  spec.block_a = *parse_fp8_block(request.attributes.text("block_a"));
  spec.block_b = *parse_fp8_block(request.attributes.text("block_b"));
  spec.result = request.results[0].dtype;
  spec.transpose_b = true;
  spec.bias = request.has_operand(kBias);
  spec.addend = request.has_operand(kAddend);
  return spec;
}

/// A bias in the dtype that a product takes it in: as it is, or converted into scratch.
struct ConvertedBias {
  DType from = DType::bf16;
  std::int64_t elements = 0;  // that are converted

  ConvertedBias() = default;
  ConvertedBias(const KernelRequest& request, DType taken) {
    if (!request.has_operand(kBias) || request.operand(kBias).dtype == taken) return;
    from = request.operand(kBias).dtype;
    elements = request.operand(kBias).elements();
  }
  std::size_t scratch_bytes() const { return bytes_of(elements, DType::fp32); }
  const void* queue(const void* bias, void* scratch, Stream stream) const {
    if (elements == 0) return bias;
    convert_bias(bias, from, scratch, elements, stream);
    return scratch;
  }
};

class ScaledMatMul final : public Kernel {
 public:
  ScaledMatMul(const ProductSpec& spec, const ConvertedBias& bias)
      : bias_(bias), product_(make_product(spec)) {}

  std::size_t scratch_bytes() const override {
    return bias_.scratch_bytes() + product_->scratch_bytes();
  }

  void load() const override { product_->load(); }

  void run(const KernelBuffers& buffers) const override {
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    ProductBuffers of;
    of.a = buffers.operand<void>(kA);
    of.b = buffers.operand<void>(kB);
    of.scale_a = buffers.operand<float>(kScaleA);
    of.scale_b = buffers.operand<float>(kScaleB);
    of.bias = bias_.queue(buffers.operand<void>(kBias), scratch, buffers.stream);
    of.addend = buffers.operand<void>(kAddend);
    of.result = buffers.result<void>(0);
    of.scratch = scratch + bias_.scratch_bytes();
    product_->run(of, buffers.stream);
  }

 private:
  ConvertedBias bias_;
  std::unique_ptr<const Product> product_;
};

constexpr int kThreads = 256;
constexpr int kCodes = 16;  // of a thread

/// y = q times its scales, which are null where they are applied later.
template <typename Format>
__global__ void __launch_bounds__(kThreads)
    dequantize(const Format* q, const float* scales, Fp8Block block, MatrixSize size, BFloat16* y) {
  const std::int64_t elements = size.rows * size.columns;
  const std::int64_t first = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kCodes;
  if (first >= elements) return;
  if (size.columns % kCodes != 0) {  // no scale but one for all, which is applied later
    for (std::int64_t i = first; i < std::min(first + kCodes, elements); ++i) {
      y[i] = from_float<BFloat16>(static_cast<float>(q[i]));
    }
    return;
  }
  const auto codes = load_pack(reinterpret_cast<const std::uint32_t*>(q + first));
  const std::int64_t row = first / size.columns, column = first % size.columns;
  const float scale = scales == nullptr ? 1.0f : scales[fp8_scale_index(block, size, row, column)];
  Run<float, kCodes> x;
  for (int w = 0; w < 4; ++w) {
    float four[4];
    from_fp8<Format>(codes.at[w], four);
    for (int i = 0; i < 4; ++i) x.at[4 * w + i] = four[i] * scale;
  }
  store_floats(y + first, x);
}

template <typename Format>
void queue_dequantize(const void* q, const float* scales, Fp8Block block, MatrixSize size, void* y,
                      Stream stream) {
  const std::int64_t elements = size.rows * size.columns;
  const Grid grid{divide_up(elements, std::int64_t{kThreads} * kCodes), 1, 1, kThreads};
  launch(dequantize<Format>, grid, stream, static_cast<const Format*>(q), scales, block, size,
         static_cast<BFloat16*>(y));
}

/// result = sum * scale_a * scale_b + bias + addend; the last two may be null. The buffers of sum,
/// addend and result may be the same.
template <typename Bias, typename Result>
struct Finish {
  const float* sum;
  const float* scale_a;
  const float* scale_b;
  const Bias* bias;
  const Result* addend;
  Result* result;
  std::int64_t elements, width;
};

template <typename Bias, typename Result>
__global__ void __launch_bounds__(kThreads) finish_sum(const Finish<Bias, Result> of) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWide;
  const std::int64_t count = of.elements - first;
  if (count <= 0) return;
  const float scale = *of.scale_a * *of.scale_b;
  Wide x = load_wide(of.sum + first, count, 0.0f);
  for (float& value : x.at) value *= scale;
  if (of.bias != nullptr) {
    std::int64_t column = first % of.width;
    for (int i = 0; i < kWide; ++i) {
      x.at[i] += to_float(of.bias[column]);
      column = column + 1 == of.width ? 0 : column + 1;
    }
  }
  if (of.addend != nullptr) {
    const Wide other = load_wide(of.addend + first, count, 0.0f);
    for (int i = 0; i < kWide; ++i) x.at[i] += other.at[i];
  }
  store_wide(of.result + first, x, count);
}

class DequantizedMatMul final : public Kernel {
 public:
  DequantizedMatMul(const KernelRequest& request, const ProductSpec& spec)
      : spec_(spec), later_(spec.block_a == Fp8Block::tensor) {
    ProductSpec of = spec;
    of.a = of.b = DType::bf16;
    if (later_) {
      of.result = DType::fp32;
      of.bias = of.addend = false;
      apart_ = spec.addend || spec.result != DType::fp32;
      if (spec.bias) bias_dtype_ = request.operand(kBias).dtype;
    } else {
      bias_ = ConvertedBias(request, of.bias_dtype());
    }
    product_ = make_product(of);
  }

  std::size_t scratch_bytes() const override {
    return a_bytes() + b_bytes() + sum_bytes() + bias_.scratch_bytes() + product_->scratch_bytes();
  }

  void load() const override { product_->load(); }

  void run(const KernelBuffers& buffers) const override {
    auto* a = static_cast<std::byte*>(buffers.scratch);
    std::byte* b = a + a_bytes();
    std::byte* sum = b + b_bytes();
    std::byte* bias = sum + sum_bytes();
    dequantize_operand(buffers, kA, spec_.a, spec_.block_a, {spec_.m, spec_.k}, a);
    dequantize_operand(buffers, kB, spec_.b, spec_.block_b, {spec_.n, spec_.k}, b);
    ProductBuffers of;
    of.a = a;
    of.b = b;
    of.result = apart_ ? sum : buffers.result<void>(0);
    of.scratch = bias + bias_.scratch_bytes();
    if (!later_) {
      of.bias = bias_.queue(buffers.operand<void>(kBias), bias, buffers.stream);
      of.addend = buffers.operand<void>(kAddend);
    }
    product_->run(of, buffers.stream);
    if (later_) finish(buffers, static_cast<const float*>(of.result));
  }

 private:
  std::size_t a_bytes() const { return bytes_of(spec_.m * spec_.k, DType::bf16); }
  std::size_t b_bytes() const { return bytes_of(spec_.n * spec_.k, DType::bf16); }
  std::size_t sum_bytes() const { return apart_ ? bytes_of(spec_.m * spec_.n, DType::fp32) : 0; }

  void dequantize_operand(const KernelBuffers& buffers, std::size_t operand, DType format,
                          Fp8Block block, MatrixSize size, void* to) const {
    const auto* scales = later_ ? nullptr : buffers.operand<float>(operand + 1);
    const auto queue =
        format == DType::fp8_e4m3 ? queue_dequantize<Fp8E4M3> : queue_dequantize<Fp8E5M2>;
    queue(buffers.operand<void>(operand), scales, block, size, to, buffers.stream);
  }

  void finish(const KernelBuffers& buffers, const float* sum) const {
    of_dtype(bias_dtype_, [&]<typename Bias>(Bias) {
      return of_dtype(spec_.result, [&]<typename Result>(Result) {
        const std::int64_t elements = spec_.m * spec_.n;
        const Grid grid{divide_up(elements, std::int64_t{kThreads} * kWide), 1, 1, kThreads};
        launch(finish_sum<Bias, Result>, grid, buffers.stream,
               Finish<Bias, Result>{sum, buffers.operand<float>(kScaleA),
                                    buffers.operand<float>(kScaleB), buffers.operand<Bias>(kBias),
                                    buffers.operand<Result>(kAddend), buffers.result<Result>(0),
                                    elements, spec_.n});
      });
    });
  }

  ProductSpec spec_;
  bool later_;          // the scales are applied to the sum
  bool apart_ = false;  // which then lies in scratch
  DType bias_dtype_ = DType::fp32;
  ConvertedBias bias_;
  std::unique_ptr<const Product> product_;
};

std::optional<std::string> refusal(const KernelRequest& request) {
  if (request.results[0].elements() == 0 || request.operand(kA).elements() == 0) {
    return "no elements";
  }
  if (request.has_operand(kBias) && !is_fp32_or_bf16(request.operand(kBias).dtype)) {
    return fmt::format("the bias is {}; this kernel does fp32 and bf16",
                       name_of(request.operand(kBias).dtype));
  }
  return std::nullopt;
}

}  // namespace

Prepared scaled_matmul(const KernelRequest& request) {
  if (auto reason = refusal(request)) return Declined{*reason};
  const ProductSpec spec = product_of(request);
  const std::string none = why_no_fp8_product(spec, request.machine.compute_capability);
  if (!none.empty()) return Declined{none};
  const ConvertedBias bias(request, spec.bias_dtype());
  return std::unique_ptr<const Kernel>(std::make_unique<const ScaledMatMul>(spec, bias));
}

Prepared scaled_matmul_dequantized(const KernelRequest& request) {
  if (auto reason = refusal(request)) return Declined{*reason};
  return std::unique_ptr<const Kernel>(
      std::make_unique<const DequantizedMatMul>(request, product_of(request)));
}

}  // namespace bessemer::kernels::cuda

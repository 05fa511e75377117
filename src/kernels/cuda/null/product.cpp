// Matrix products of the null device: the CPU's, one batch after the other. Operands that it does
// not take are written into scratch as fp32: fp8 times its scale, and fp32 rounded to TF32, to
// nearest with ties away from zero, as cvt.rna.tf32.f32 does. (A device may cut the bits off
// instead, which is an error of at most twice as much.)
#include "kernels/cuda/product.h"

#include <algorithm>
#include <bit>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/cpu/product.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/reference/activation.h"

namespace bessemer::kernels::cuda {
namespace {

std::int64_t bytes_of(std::int64_t elements, DType dtype) {
  return elements * static_cast<std::int64_t>(size_of(dtype));
}

float to_tf32(float x) {
  constexpr std::uint32_t kLost = 0x1fffu, kHalf = 0x1000u;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  return std::bit_cast<float>((bits + kHalf) & ~kLost);
}

void dequantize(const void* from, DType dtype, const float* scales, Fp8Block block, MatrixSize size,
                float* to) {
  const auto convert = [&](const auto* q) {
    for (std::int64_t row = 0; row < size.rows; ++row) {
      for (std::int64_t column = 0; column < size.columns; ++column) {
        const std::int64_t i = row * size.columns + column;
        to[i] = static_cast<float>(q[i]) * scales[fp8_scale_index(block, size, row, column)];
      }
    }
  };
  if (dtype == DType::fp8_e4m3) {
    convert(static_cast<const Fp8E4M3*>(from));
  } else {
    convert(static_cast<const Fp8E5M2*>(from));
  }
}

class HostProduct final : public Product {
 public:
  explicit HostProduct(const ProductSpec& spec)
      : spec_(spec), product_(cpu::make_product(of_cpu(spec), Machine::detect())) {
    require_valid(spec);
    require(product_ != nullptr, "the null device multiplies fp32 and bf16");
  }

  std::size_t scratch_bytes() const override {
    return converted_bytes(a_elements()) + converted_bytes(b_elements()) +
           product_->scratch_bytes();
  }

  /// Some sums of rows are not, so that kernels have to do without.
  bool is_available() const override { return !spec_.row_sums || spec_.m % 8 == 0; }

  void run(const ProductBuffers& buffers, Stream stream) const override {
    null::queue(stream, [this, buffers] {
      const ProductBuffers taken = is_converted() ? convert(buffers) : buffers;
      for (std::int64_t i = 0; i < spec_.batch; ++i) run_one(taken, i);
      if (!spec_.row_sums) return;
      if (spec_.a == DType::bf16) {
        sum_rows(static_cast<const BFloat16*>(buffers.a), buffers.row_sums);
      } else {
        sum_rows(static_cast<const float*>(buffers.a), buffers.row_sums);
      }
    });
  }

 private:
  static cpu::ProductSpec of_cpu(const ProductSpec& spec) {
    cpu::ProductSpec of;
    of.m = spec.m;
    of.n = spec.n;
    of.k = spec.k;
    of.a = of.b = spec.is_fp8() ? DType::fp32 : spec.a;
    of.result = spec.result;
    of.transpose_a = spec.transpose_a;
    of.transpose_b = spec.transpose_b;
    if (spec.bias) of.bias = spec.bias_dtype();
    of.addend = spec.addend;
    of.a_row = spec.a_row;
    of.result_row = spec.result_row;
    if (spec.activation == ProductSpec::Activation::gelu_tanh) {
      of.activation = cpu::Activation::gelu_tanh;
    }
    return of;
  }

  bool is_converted() const { return spec_.tf32 || spec_.is_fp8(); }
  DType operand_dtype() const { return spec_.is_fp8() ? DType::fp32 : spec_.a; }
  std::int64_t a_elements() const {
    return spec_.batch * (spec_.transpose_a ? spec_.k : spec_.m) * spec_.a_stride();
  }
  std::int64_t b_elements() const { return spec_.batch * spec_.k * spec_.n; }
  std::size_t converted_bytes(std::int64_t elements) const {
    return is_converted() ? align_up(static_cast<std::size_t>(elements) * sizeof(float)) : 0;
  }

  /// The same with operands of fp32 in scratch, and what is left of it.
  ProductBuffers convert(const ProductBuffers& buffers) const {
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    auto* a = reinterpret_cast<float*>(scratch);
    auto* b = reinterpret_cast<float*>(scratch + converted_bytes(a_elements()));
    if (spec_.is_fp8()) {
      dequantize(buffers.a, spec_.a, buffers.scale_a, spec_.block_a, {spec_.m, spec_.k}, a);
      dequantize(buffers.b, spec_.b, buffers.scale_b, spec_.block_b, {spec_.n, spec_.k}, b);
    } else {
      std::transform(static_cast<const float*>(buffers.a),
                     static_cast<const float*>(buffers.a) + a_elements(), a, to_tf32);
      std::transform(static_cast<const float*>(buffers.b),
                     static_cast<const float*>(buffers.b) + b_elements(), b, to_tf32);
    }
    ProductBuffers converted = buffers;
    converted.a = a;
    converted.b = b;
    converted.scratch = reinterpret_cast<std::byte*>(b) + converted_bytes(b_elements());
    return converted;
  }

  void run_one(const ProductBuffers& buffers, std::int64_t i) const {
    const auto at = [i](const void* first, std::int64_t bytes) {
      return first == nullptr ? nullptr : static_cast<const std::byte*>(first) + i * bytes;
    };
    const std::int64_t result_bytes = bytes_of(spec_.m * spec_.n, spec_.result);
    product_->run({at(buffers.a, bytes_of(spec_.m * spec_.k, operand_dtype())),
                   at(buffers.b, bytes_of(spec_.k * spec_.n, operand_dtype())), buffers.bias,
                   at(buffers.addend, result_bytes),
                   static_cast<std::byte*>(buffers.result) + i * result_bytes,
                   static_cast<std::byte*>(buffers.scratch)});
    if (spec_.activation != ProductSpec::Activation::gelu_tanh_grad) return;
    const void* x = at(buffers.x, result_bytes);
    void* result = static_cast<std::byte*>(buffers.result) + i * result_bytes;
    if (spec_.result == DType::bf16) {
      multiply_by_gelu_gradient(static_cast<const BFloat16*>(x), static_cast<BFloat16*>(result));
    } else {
      multiply_by_gelu_gradient(static_cast<const float*>(x), static_cast<float*>(result));
    }
  }

  template <typename T>
  void multiply_by_gelu_gradient(const T* x, T* result) const {
    for (std::int64_t i = 0; i < spec_.m * spec_.n; ++i) {
      const double derivative = reference::gelu_tanh_derivative(static_cast<float>(x[i]));
      result[i] = static_cast<T>(static_cast<float>(static_cast<float>(result[i]) * derivative));
    }
  }

  template <typename T>
  void sum_rows(const T* a, float* sums) const {
    for (std::int64_t i = 0; i < spec_.m; ++i) {
      float sum = 0;
      for (std::int64_t k = 0; k < spec_.k; ++k) {
        sum += static_cast<float>(
            a[spec_.transpose_a ? k * spec_.a_stride() + i : i * spec_.a_stride() + k]);
      }
      sums[i] = sum;
    }
  }

  ProductSpec spec_;
  std::unique_ptr<const cpu::Product> product_;
};

}  // namespace

bool has_block_scaling() { return true; }

std::unique_ptr<const Product> make_product(const ProductSpec& spec) {
  return std::make_unique<HostProduct>(spec);
}

}  // namespace bessemer::kernels::cuda

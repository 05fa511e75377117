// Matrix products of the null device: the CPU's, one batch after the other.
#include "kernels/cuda/product.h"

#include "base/arena.h"
#include "base/error.h"
#include "kernels/cpu/product.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

std::int64_t bytes_of(std::int64_t elements, DType dtype) {
  return elements * static_cast<std::int64_t>(size_of(dtype));
}

class HostProduct final : public Product {
 public:
  explicit HostProduct(const ProductSpec& spec)
      : spec_(spec), product_(cpu::make_product(of_cpu(spec), Machine::detect())) {
    require(product_ != nullptr, "the null device multiplies fp32 and bf16");
    require_valid(spec);
  }

  std::size_t scratch_bytes() const override { return product_->scratch_bytes(); }

  void run(const ProductBuffers& buffers, Stream stream) const override {
    null::queue(stream, [this, buffers] {
      for (std::int64_t i = 0; i < spec_.batch; ++i) run_one(buffers, i);
    });
  }

 private:
  static cpu::ProductSpec of_cpu(const ProductSpec& spec) {
    cpu::ProductSpec of;
    of.m = spec.m;
    of.n = spec.n;
    of.k = spec.k;
    of.a = of.b = spec.input;
    of.result = spec.result;
    of.transpose_a = spec.transpose_a;
    of.transpose_b = spec.transpose_b;
    if (spec.bias) of.bias = spec.result;
    of.addend = spec.addend;
    of.a_row = spec.a_row;
    of.result_row = spec.result_row;
    if (spec.activation == ProductSpec::Activation::gelu_tanh) {
      of.activation = cpu::Activation::gelu_tanh;
    }
    return of;
  }

  void run_one(const ProductBuffers& buffers, std::int64_t i) const {
    const auto at = [i](const void* first, std::int64_t bytes) {
      return first == nullptr ? nullptr : static_cast<const std::byte*>(first) + i * bytes;
    };
    const std::int64_t result_bytes = bytes_of(spec_.m * spec_.n, spec_.result);
    product_->run({at(buffers.a, bytes_of(spec_.m * spec_.k, spec_.input)),
                   at(buffers.b, bytes_of(spec_.k * spec_.n, spec_.input)), buffers.bias,
                   at(buffers.addend, result_bytes),
                   static_cast<std::byte*>(buffers.result) + i * result_bytes,
                   static_cast<std::byte*>(buffers.scratch)});
  }

  ProductSpec spec_;
  std::unique_ptr<const cpu::Product> product_;
};

}  // namespace

std::unique_ptr<const Product> make_product(const ProductSpec& spec) {
  return std::make_unique<HostProduct>(spec);
}

}  // namespace bessemer::kernels::cuda

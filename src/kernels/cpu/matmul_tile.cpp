// A product with some blocks of rows of a matrix of weights: the same products, one a block, that
// blocked_product.h makes the whole of, and so the same bits.
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/parallel.h"
#include "kernels/cpu/blocked_product.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {
namespace {

/// Where the tile begins in the wider matrices, in bytes.
struct Skipped {
  std::int64_t a = 0, bias = 0, result = 0;  // `result` of addend and result
};

class MatMulTile final : public Kernel {
 public:
  MatMulTile(std::unique_ptr<const Product> product, const ProductSpec& spec, Skipped skipped)
      : product_(std::move(product)),
        rows_(spec.m),
        row_bytes_(spec.result_stride() * static_cast<std::int64_t>(size_of(spec.result))),
        tile_bytes_(spec.n * static_cast<std::int64_t>(size_of(spec.result))),
        skipped_(skipped) {}

  std::size_t scratch_bytes() const override { return product_->scratch_bytes(); }

  void run(const KernelBuffers& buffers) const override {
    const auto* into = buffers.operand<std::byte>(4);
    auto* result = buffers.result<std::byte>(0);
    if (into != nullptr && into != result) copy_beside(into, result);
    const auto after = [](const std::byte* p, std::int64_t bytes) { return p ? p + bytes : p; };
    product_->run({buffers.operand<std::byte>(0) + skipped_.a, buffers.operand<std::byte>(1),
                   after(buffers.operand<std::byte>(2), skipped_.bias),
                   after(buffers.operand<std::byte>(3), skipped_.result), result + skipped_.result,
                   static_cast<std::byte*>(buffers.scratch)});
  }

 private:
  // What is left and right of the tile; the tile itself may still hold the addend.
  void copy_beside(const std::byte* from, std::byte* to) const {
    const std::int64_t end = skipped_.result + tile_bytes_;
    parallel_for(rows_, 64, [&](std::int64_t begin_row, std::int64_t end_row) {
      for (std::int64_t row = begin_row; row < end_row; ++row) {
        const std::byte* source = from + row * row_bytes_;
        std::byte* target = to + row * row_bytes_;
        std::memcpy(target, source, static_cast<std::size_t>(skipped_.result));
        std::memcpy(target + end, source + end, static_cast<std::size_t>(row_bytes_ - end));
      }
    });
  }

  std::unique_ptr<const Product> product_;
  std::int64_t rows_, row_bytes_, tile_bytes_;
  Skipped skipped_;
};

}  // namespace

Prepared matmul_tile(const KernelRequest& request) {
  const TensorType& a = request.operand(0);
  const TensorType& b = request.operand(1);
  const TensorType& y = request.results[0];
  const std::string part = request.attributes.text("part");
  const std::int64_t begin = request.attributes.integer("begin", 0);
  const auto bytes_before = [begin](DType dtype) {
    return begin * static_cast<std::int64_t>(size_of(dtype));
  };
  const auto activation = parse_activation(request.attributes.text("activation", "none"));
  if (!activation) return Declined{"unknown activation"};
  if (a.elements() * b.elements() == 0) return Declined{"no elements"};
  ProductSpec spec;
  Skipped skipped;
  spec.a = a.dtype, spec.b = b.dtype, spec.result = y.dtype;
  spec.activation = *activation;
  spec.addend = request.has_operand(3);
  if (request.has_operand(2)) spec.bias = request.operand(2).dtype;
  spec.m = a.elements() / a.dim(-1);
  if (part == "columns") {
    spec.transpose_b = true;
    spec.n = b.dim(0), spec.k = b.dim(1);
    spec.result_row = y.dim(-1);
    skipped.result = bytes_before(y.dtype);
    skipped.bias = bytes_before(spec.bias.value_or(DType::fp32));
  } else if (part == "depth") {
    spec.n = b.dim(1), spec.k = b.dim(0);
    spec.a_row = a.dim(-1);
    skipped.a = bytes_before(a.dtype);
  } else {
    spec.transpose_a = true;
    spec.m = y.dim(0), spec.n = b.dim(1), spec.k = b.dim(0);
    spec.a_row = a.dim(-1);
    skipped.a = bytes_before(a.dtype);
  }
  std::unique_ptr<const Product> product;
  if (request.attributes.boolean("divisible", false)) {
    product = make_divisible_product(spec, request.machine);
  }
  if (!product) product = make_blocked_product(spec, request.machine);
  if (!product) product = make_single_product(spec, request.machine);
  if (!product) {
    return Declined{fmt::format("{} x {} -> {}: only fp32 and bf16", name_of(a.dtype),
                                name_of(b.dtype), name_of(y.dtype))};
  }
  return std::unique_ptr<const Kernel>(
      std::make_unique<const MatMulTile>(std::move(product), spec, skipped));
}

}  // namespace bessemer::kernels::cpu

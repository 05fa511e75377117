#include <fmt/format.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {
namespace {

/// `batch` products, one after the other; a 2-D b folds the batch into the rows instead.
class MatMul final : public Kernel {
 public:
  MatMul(std::unique_ptr<const Product> product, const ProductSpec& spec, std::int64_t batch)
      : product_(std::move(product)),
        batch_(batch),
        a_bytes_(spec.m * spec.k * static_cast<std::int64_t>(size_of(spec.a))),
        b_bytes_(spec.k * spec.n * static_cast<std::int64_t>(size_of(spec.b))),
        result_bytes_(spec.m * spec.n * static_cast<std::int64_t>(size_of(spec.result))) {}

  std::size_t scratch_bytes() const override { return product_->scratch_bytes(); }

  void run(const KernelBuffers& buffers) const override {
    const auto* addend = buffers.operand<std::byte>(3);
    for (std::int64_t i = 0; i < batch_; ++i) {
      product_->run({buffers.operand<std::byte>(0) + i * a_bytes_,
                     buffers.operand<std::byte>(1) + i * b_bytes_, buffers.operand<std::byte>(2),
                     addend ? addend + i * result_bytes_ : nullptr,
                     buffers.result<std::byte>(0) + i * result_bytes_,
                     static_cast<std::byte*>(buffers.scratch)});
    }
  }

 private:
  std::unique_ptr<const Product> product_;
  std::int64_t batch_, a_bytes_, b_bytes_, result_bytes_;
};

std::int64_t leading(const TensorType& type) {
  std::int64_t count = 1;
  for (std::int64_t d = 0; d + 2 < type.rank(); ++d) count *= type.dim(d);
  return count;
}

}  // namespace

Prepared matmul(const KernelRequest& request) {
  const TensorType& a = request.operand(0);
  const TensorType& b = request.operand(1);
  const std::string activation_name = request.attributes.text("activation", "none");
  const auto activation = parse_activation(activation_name);
  if (!activation) return Declined{fmt::format("unknown activation {}", activation_name)};

  ProductSpec spec;
  spec.a = a.dtype;
  spec.b = b.dtype;
  spec.result = request.results[0].dtype;
  spec.transpose_a = request.attributes.boolean("transpose_a", false);
  spec.transpose_b = request.attributes.boolean("transpose_b", false);
  spec.m = a.dim(spec.transpose_a ? -1 : -2);
  spec.k = a.dim(spec.transpose_a ? -2 : -1);
  spec.n = b.dim(spec.transpose_b ? -2 : -1);
  spec.activation = *activation;
  if (request.has_operand(2)) spec.bias = request.operand(2).dtype;
  spec.addend = request.has_operand(3);

  std::int64_t batch = leading(a);
  if (b.rank() == 2 && batch != 1) {
    if (spec.transpose_a) return Declined{"transposed a of more than two dimensions, 2-D b"};
    spec.m *= batch;
    batch = 1;
  }
  if (spec.addend && request.operand(3).dtype != spec.result) {
    return Declined{fmt::format("addend of {}, result of {}", name_of(request.operand(3).dtype),
                                name_of(spec.result))};
  }
  auto product = make_product(spec, request.machine);
  if (!product) {
    return Declined{fmt::format("{} x {} -> {}{}{}: only fp32 and bf16", name_of(spec.a),
                                name_of(spec.b), name_of(spec.result), spec.bias ? ", bias " : "",
                                spec.bias ? name_of(*spec.bias) : "")};
  }
  return std::unique_ptr<const Kernel>(
      std::make_unique<const MatMul>(std::move(product), spec, batch));
}

}  // namespace bessemer::kernels::cpu

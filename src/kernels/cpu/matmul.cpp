#include <fmt/format.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/divisible.h"
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

/// A matmul's product, or why there is none.
struct Asked {
  ProductSpec spec;
  std::int64_t batch = 1;  // products, one after the other
  std::optional<std::string> refusal;
};

Asked asked_of(const KernelRequest& request) {
  Asked asked;
  const TensorType& a = request.operand(0);
  const TensorType& b = request.operand(1);
  const std::string activation_name = request.attributes.text("activation", "none");
  const auto activation = parse_activation(activation_name);
  if (!activation) {
    asked.refusal = fmt::format("unknown activation {}", activation_name);
    return asked;
  }
  if (request.results.size() > 1) asked.refusal = "sums of rows";
  ProductSpec& spec = asked.spec;
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

  asked.batch = leading(a);
  if (b.rank() == 2 && asked.batch != 1) {
    if (spec.transpose_a) asked.refusal = "transposed a of more than two dimensions, 2-D b";
    spec.m *= asked.batch;
    asked.batch = 1;
  }
  if (spec.addend && request.operand(3).dtype != spec.result) {
    asked.refusal = fmt::format("addend of {}, result of {}", name_of(request.operand(3).dtype),
                                name_of(spec.result));
  }
  return asked;
}

}  // namespace

Prepared matmul(const KernelRequest& request) {
  const Asked asked = asked_of(request);
  if (asked.refusal) return Declined{*asked.refusal};
  const ProductSpec& spec = asked.spec;
  auto product = make_product(spec, request.machine);
  if (!product) {
    return Declined{fmt::format("{} x {} -> {}{}{}: only fp32 and bf16", name_of(spec.a),
                                name_of(spec.b), name_of(spec.result), spec.bias ? ", bias " : "",
                                spec.bias ? name_of(*spec.bias) : "")};
  }
  return std::unique_ptr<const Kernel>(
      std::make_unique<const MatMul>(std::move(product), spec, asked.batch));
}

bool matmul_is_divisible(const KernelRequest& request) {
  const Asked asked = asked_of(request);
  return !asked.refusal && make_divisible_product(asked.spec, request.machine) != nullptr;
}

}  // namespace bessemer::kernels::cpu

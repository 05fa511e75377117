// matmul: a product (product.h), and what its epilogue cannot do in one pass over the result after
// it: 2mnk flops, and where there is a pass, each element of the sum read and of the result written
// once, 16 bytes at a time (and the addend and x read). In the shapes of a model only the erf form
// of gelu and silu need one.
//
// Biases are vectors of parameters, often in fp32 where the result is bf16, which cuBLASLt does not
// take: they are rounded to the result's dtype first. Where a pass follows, the sum is rounded to
// the result's dtype before the activation, as if the activation were an op of its own. Whether a
// library has an epilogue shows on the device: a kernel that wants one has both ways prepared.
//
// Sums of a's rows, which are the gradient of a bias beside that of a weight, are an epilogue where
// that pays: m numbers written, added in the order of the product's algorithm, which is chosen
// once. Elsewhere reduce_sum makes them, in its order, and reads a once more; so it does beside
// TF32, since they shall have all bits of a.
#include <fmt/format.h>

#include <algorithm>

#include "base/arena.h"
#include "base/error.h"
#include "base/rounding.h"
#include "kernels/cuda/bias.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/product.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// What the pass does with a sum, which stands beside the element of x.
struct Identity {
  __device__ float operator()(float sum, float) const { return sum; }
};
struct GeluTanh {
  // x/2 (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
  __device__ float operator()(float x, float) const {
    return x / (1 + std::exp(-1.5957691216057308f * x * (1 + 0.044715f * x * x)));
  }
};
struct GeluErf {
  __device__ float operator()(float x, float) const {
    return 0.5f * x * std::erfc(-0.7071067811865476f * x);
  }
};
struct Silu {
  __device__ float operator()(float x, float) const { return x / (1 + std::exp(-x)); }
};
struct GeluTanhGrad {
  // With s = (1 + tanh(u)) / 2 the derivative is s + 2x s (1 - s) du/dx.
  __device__ float operator()(float sum, float x) const {
    const float square = x * x;
    const float s = 1 / (1 + std::exp(-1.5957691216057308f * x * (1 + 0.044715f * square)));
    const float slope = 1.5957691216057308f * (1 + 0.134145f * square);
    return sum * (s + x * s * (1 - s) * slope);
  }
};

/// result = function(sum, x) + addend; x and addend may be null. The buffers may be the same.
template <typename Function, typename Sum, typename Result>
__global__ void __launch_bounds__(kThreads)
    finish(const Sum* sum, const Result* x, const Result* addend, Result* result,
           std::int64_t elements) {
  const std::int64_t first =
      (std::int64_t{blockIdx.x} * kThreads + static_cast<std::int64_t>(threadIdx.x)) * kWide;
  const std::int64_t count = elements - first;
  if (count <= 0) return;
  Wide y = load_wide(sum + first, count, 0.0f);
  Wide beside{};
  if (x != nullptr) beside = load_wide(x + first, count, 0.0f);
  for (int i = 0; i < kWide; ++i) y.at[i] = Function()(y.at[i], beside.at[i]);
  if (addend != nullptr) {
    const Wide other = load_wide(addend + first, count, 0.0f);
    for (int i = 0; i < kWide; ++i) y.at[i] += other.at[i];
  }
  store_wide(result + first, y, count);
}

enum class Activation { none, gelu_tanh, gelu, silu, gelu_tanh_grad };

/// What a matmul is made of.
struct Steps {
  ProductSpec product;
  std::optional<DType> bias;  // of the operand, where it has to be converted
  bool pass = false;          // after the product
  bool apart = false;         // the product's result lies in scratch until the pass has read it
  Activation activation = Activation::none;  // of the pass
  bool own_row_sums = false;                 // by a kernel of their own, after the product
  DType result = DType::fp32;

  std::int64_t elements() const { return product.batch * product.m * product.n; }
  std::size_t bias_bytes() const {
    return bias ? align_up(static_cast<std::size_t>(product.n) * size_of(product.result)) : 0;
  }
  std::size_t sum_bytes() const {
    return apart ? align_up(static_cast<std::size_t>(elements()) * size_of(product.result)) : 0;
  }
};

Grid grid_of(std::int64_t elements) {
  return {divide_up(elements, std::int64_t{kThreads} * kWide), 1, 1, kThreads};
}

template <typename Sum, typename Result>
void queue_pass(const Steps& steps, const void* sum, const KernelBuffers& buffers) {
  const auto queue = [&](auto* kernel) {
    launch(kernel, grid_of(steps.elements()), buffers.stream, static_cast<const Sum*>(sum),
           buffers.operand<Result>(4), buffers.operand<Result>(3), buffers.result<Result>(0),
           steps.elements());
  };
  switch (steps.activation) {
    case Activation::none: return queue(finish<Identity, Sum, Result>);
    case Activation::gelu_tanh: return queue(finish<GeluTanh, Sum, Result>);
    case Activation::gelu: return queue(finish<GeluErf, Sum, Result>);
    case Activation::silu: return queue(finish<Silu, Sum, Result>);
    case Activation::gelu_tanh_grad: return queue(finish<GeluTanhGrad, Sum, Result>);
  }
}

/// The sums of a's rows by a kernel of their own.
std::unique_ptr<const Kernel> row_sums_of(const KernelRequest& request) {
  const std::int64_t summed = request.attributes.boolean("transpose_a", false) ? 0 : 1;
  const Attributes attributes{{"dims", std::vector<std::int64_t>{summed}}};
  Prepared made = reduce_sum(
      {request.operands.first(1), request.results.subspan(1), attributes, request.machine});
  return std::get<std::unique_ptr<const Kernel>>(std::move(made));
}

class MatMul final : public Kernel {
 public:
  MatMul(const Steps& steps, const KernelRequest& request)
      : steps_(steps),
        product_(make_product(steps.product)),
        row_sums_(steps.own_row_sums ? row_sums_of(request) : nullptr) {}

  std::size_t scratch_bytes() const override {
    const std::size_t of_sums = row_sums_ ? row_sums_->scratch_bytes() : 0;
    return steps_.bias_bytes() + steps_.sum_bytes() + std::max(product_->scratch_bytes(), of_sums);
  }

  bool is_available() const { return product_->is_available(); }
  void load() const override {
    product_->load();
    if (row_sums_) row_sums_->load();
  }

  void run(const KernelBuffers& buffers) const override {
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    std::byte* sum = scratch + steps_.bias_bytes();
    ProductBuffers of;
    of.a = buffers.operand<void>(0);
    of.b = buffers.operand<void>(1);
    of.bias = steps_.bias ? scratch : buffers.operand<void>(2);
    of.addend = steps_.product.addend ? buffers.operand<void>(3) : nullptr;
    of.x = buffers.operand<void>(4);
    of.result = steps_.apart ? sum : buffers.result<void>(0);
    of.row_sums = steps_.product.row_sums ? buffers.result<float>(1) : nullptr;
    of.scratch = sum + steps_.sum_bytes();
    if (steps_.bias) {
      convert_bias(buffers.operand<void>(2), *steps_.bias, scratch, steps_.product.n,
                   buffers.stream);
    }
    product_->run(of, buffers.stream);
    if (row_sums_) {
      row_sums_->run(
          {buffers.operands.first(1), buffers.results.subspan(1), of.scratch, buffers.stream});
    }
    if (!steps_.pass) return;
    if (steps_.result == DType::fp32) {
      queue_pass<float, float>(steps_, of.result, buffers);
    } else if (steps_.product.result == DType::fp32) {
      queue_pass<float, BFloat16>(steps_, of.result, buffers);
    } else {
      queue_pass<BFloat16, BFloat16>(steps_, of.result, buffers);
    }
  }

 private:
  Steps steps_;
  std::unique_ptr<const Product> product_;
  std::unique_ptr<const Kernel> row_sums_;  // null where they are none, or the product's
};

/// One that uses an epilogue where the library has it, and one that does not.
class EitherMatMul final : public Kernel {
 public:
  EitherMatMul(const Steps& with_epilogue, const Steps& without, const KernelRequest& request)
      : with_epilogue_(with_epilogue, request), without_(without, request) {}

  std::size_t scratch_bytes() const override {
    return std::max(with_epilogue_.scratch_bytes(), without_.scratch_bytes());
  }
  void load() const override {
    chosen_ = with_epilogue_.is_available() ? &with_epilogue_ : &without_;
    chosen_->load();
  }
  void run(const KernelBuffers& buffers) const override {
    require(chosen_ != nullptr, "a product runs before it is loaded");
    chosen_->run(buffers);
  }

 private:
  MatMul with_epilogue_, without_;
  mutable const MatMul* chosen_ = nullptr;  // by load()
};

std::optional<Activation> parse_activation(std::string_view name) {
  if (name == "none") return Activation::none;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  if (name == "gelu_tanh_grad") return Activation::gelu_tanh_grad;
  return std::nullopt;
}

std::int64_t leading(const TensorType& type) {
  std::int64_t count = 1;
  for (std::int64_t d = 0; d + 2 < type.rank(); ++d) count *= type.dim(d);
  return count;
}

/// Sizes and dtypes; a 2-D b folds the leading dimensions into the rows.
ProductSpec product_of(const KernelRequest& request) {
  const TensorType& a = request.operand(0);
  const TensorType& b = request.operand(1);
  ProductSpec spec;
  spec.transpose_a = request.attributes.boolean("transpose_a", false);
  spec.transpose_b = request.attributes.boolean("transpose_b", false);
  spec.m = a.dim(spec.transpose_a ? -1 : -2);
  spec.k = a.dim(spec.transpose_a ? -2 : -1);
  spec.n = b.dim(spec.transpose_b ? -2 : -1);
  spec.batch = leading(a);
  if (b.rank() == 2) {
    spec.m *= spec.batch;
    spec.batch = 1;
  }
  spec.a = spec.b = a.dtype;
  spec.tf32 = a.dtype == DType::fp32 && request.attributes.boolean("tf32", false);
  spec.bias = request.has_operand(2);
  return spec;
}

/// With the activation in a pass of its own.
Steps steps_of(const KernelRequest& request, Activation activation) {
  Steps steps;
  ProductSpec& product = steps.product = product_of(request);
  steps.result = request.results[0].dtype;
  product.result = product.a == DType::fp32 ? DType::fp32 : steps.result;
  const bool addend = request.has_operand(3);
  steps.pass = activation != Activation::none || product.result != steps.result;
  steps.apart = steps.pass && (addend || product.result != steps.result);
  steps.activation = activation;
  steps.own_row_sums = request.results.size() > 1;
  product.addend = addend && !steps.pass;
  if (product.bias && request.operand(2).dtype != product.result) {
    steps.bias = request.operand(2).dtype;
  }
  return steps;
}

/// The same with an activation by an epilogue, where cuBLASLt knows such a one.
std::optional<Steps> with_activation(Steps steps, const KernelRequest& request) {
  ProductSpec& product = steps.product;
  if (request.has_operand(3) || product.result != steps.result || product.result != product.a) {
    return std::nullopt;
  }
  constexpr std::int64_t kStashMultiple = 8;  // of its rows' length
  const bool gradient = steps.activation == Activation::gelu_tanh_grad && !product.bias &&
                        product.n % kStashMultiple == 0;
  if (!gradient && steps.activation != Activation::gelu_tanh) return std::nullopt;
  product.activation =
      gradient ? ProductSpec::Activation::gelu_tanh_grad : ProductSpec::Activation::gelu_tanh;
  steps.pass = steps.apart = false;
  return steps;
}

/// The same with sums of rows by an epilogue, where cuBLASLt knows such a one.
std::optional<Steps> with_row_sums(Steps steps) {
  ProductSpec& product = steps.product;
  if (!steps.own_row_sums || steps.pass || product.bias || product.tf32 ||
      product.result != DType::fp32) {
    return std::nullopt;
  }
  product.row_sums = true;
  steps.own_row_sums = false;
  return steps;
}

std::optional<std::string> refusal(const KernelRequest& request) {
  const auto other = [](DType dtype) { return dtype != DType::fp32 && dtype != DType::bf16; };
  for (std::size_t i = 0; i < 5; ++i) {
    if (request.has_operand(i) && other(request.operand(i).dtype)) {
      return fmt::format("operand {} is {}; this kernel does fp32 and bf16", i,
                         name_of(request.operand(i).dtype));
    }
  }
  const TensorType& result = request.results[0];
  if (other(result.dtype)) {
    return fmt::format("the result is {}; this kernel does fp32 and bf16", name_of(result.dtype));
  }
  if (request.operand(0).dtype != request.operand(1).dtype) return "a and b are of two dtypes";
  if (result.elements() == 0 || request.operand(0).elements() == 0) return "no elements";
  return std::nullopt;
}

}  // namespace

Prepared matmul(const KernelRequest& request) {
  if (auto reason = refusal(request)) return Declined{*reason};
  const std::string name = request.attributes.text("activation", "none");
  const auto activation = parse_activation(name);
  if (!activation) return Declined{fmt::format("unknown activation {}", name)};
  const Steps steps = steps_of(request, *activation);
  auto fused = with_row_sums(steps);
  if (!fused) fused = with_activation(steps, request);
  if (fused) {
    return std::unique_ptr<const Kernel>(
        std::make_unique<const EitherMatMul>(*fused, steps, request));
  }
  return std::unique_ptr<const Kernel>(std::make_unique<const MatMul>(steps, request));
}

}  // namespace bessemer::kernels::cuda

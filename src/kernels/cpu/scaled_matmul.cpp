// The product of matrices in 8-bit floating point. No processor that we know multiplies them: both
// factors are made fp32 again, which is exact but for their scales, and multiplied as such.
#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/fp8.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cpu {
namespace {

/// What each of the 256 codes stands for.
template <typename Float8>
constexpr std::array<float, 256> values() {
  std::array<float, 256> all{};
  for (std::size_t code = 0; code < all.size(); ++code) {
    all[code] = static_cast<float>(Float8::from_bits(static_cast<std::uint8_t>(code)));
  }
  return all;
}
constexpr std::array<float, 256> kE4M3 = values<Fp8E4M3>(), kE5M2 = values<Fp8E5M2>();

struct Factor {
  DType dtype;
  Fp8Block block;
  MatrixSize size;

  std::int64_t elements() const { return size.rows * size.columns; }

  void dequantize(const std::uint8_t* codes, const float* scale, float* to) const {
    const auto& table = dtype == DType::fp8_e4m3 ? kE4M3 : kE5M2;
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / size.columns);
    parallel_for(size.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t from = 0; from < size.columns; from += kFp8Block) {
          const float s = scale[fp8_scale_index(block, size, row, from)];
          const std::int64_t last = std::min(size.columns, from + kFp8Block);
          for (std::int64_t i = row * size.columns + from; i < row * size.columns + last; ++i) {
            to[i] = table[codes[i]] * s;
          }
        }
      }
    });
  }
};

Factor factor_of(const KernelRequest& request, std::size_t operand, std::string_view block) {
  const TensorType& type = request.operand(operand);
  return {type.dtype, parse_fp8_block(request.attributes.text(block)).value(), matrix_size(type)};
}

}  // namespace

Prepared scaled_matmul(const KernelRequest& request) {
  const Factor a = factor_of(request, 0, "block_a"), b = factor_of(request, 2, "block_b");
  ProductSpec spec{.m = a.size.rows, .n = b.size.rows, .k = a.size.columns};
  spec.transpose_b = true;
  spec.result = request.results[0].dtype;
  if (request.has_operand(4)) spec.bias = request.operand(4).dtype;
  spec.addend = request.has_operand(5);
  std::shared_ptr<const Product> product = make_product(spec, request.machine);
  if (!product) {
    return Declined{fmt::format("fp32 x fp32 -> {} with this bias", name_of(spec.result))};
  }
  const std::size_t b_at = float_bytes(a.elements()), end = b_at + float_bytes(b.elements());
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* scratch = static_cast<std::byte*>(buffers.scratch);
        auto* left = reinterpret_cast<float*>(scratch);
        auto* right = reinterpret_cast<float*>(scratch + b_at);
        a.dequantize(buffers.operand<std::uint8_t>(0), buffers.operand<float>(1), left);
        b.dequantize(buffers.operand<std::uint8_t>(2), buffers.operand<float>(3), right);
        product->run({left, right, buffers.operand<void>(4), buffers.operand<void>(5),
                      buffers.result<void>(0), scratch + end});
      },
      end + product->scratch_bytes());
}

}  // namespace bessemer::kernels::cpu

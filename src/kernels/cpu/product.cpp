#include "kernels/cpu/product.h"

#include <bit>

#include "kernels/cpu/blocked_product.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn_product.h"
#include "kernels/cpu/skinny_product.h"

namespace bessemer::kernels::cpu {
namespace {

bool multiplies(DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; }

/// oneDNN 2.6 reads an fp32 b of such a row length in place, and the rows fall on the same cache
/// sets: half the speed of other lengths (it copies b where the length is a power of two).
bool rows_collide(const ProductSpec& spec) {
  const auto n = static_cast<std::uint64_t>(spec.n);
  return !spec.transpose_b && n > 2048 && n % 512 == 0 && !std::has_single_bit(n);
}

/// oneDNN where the machine has the arithmetic; without bf16 instructions its bf16 product runs at
/// a fifth of the speed of fp32.
bool onednn_is_fastest(const ProductSpec& spec, const Machine& machine) {
  if (spec.a != spec.b) return false;
  if (spec.a == DType::bf16) return machine.avx512_bf16;
  return !rows_collide(spec) && spec.result == DType::fp32 &&
         spec.bias.value_or(DType::fp32) == DType::fp32;
}

bool is_known(const ProductSpec& spec) {
  return multiplies(spec.a) && multiplies(spec.b) && multiplies(spec.result) &&
         multiplies(spec.bias.value_or(DType::fp32));
}

}  // namespace

std::optional<Activation> parse_activation(std::string_view name) {
  if (name == "none") return Activation::none;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  return std::nullopt;
}

std::unique_ptr<const Product> make_product(const ProductSpec& spec, const Machine& machine) {
  if (has_large_matrix(spec)) {
    if (auto product = make_blocked_product(spec, machine)) return product;
  }
  return make_single_product(spec, machine);
}

std::unique_ptr<const Product> make_single_product(const ProductSpec& spec,
                                                   const Machine& machine) {
  if (!is_known(spec)) return nullptr;
  if (auto product = make_skinny_product(spec, machine)) return product;
  if (onednn_is_fastest(spec, machine)) {
    if (auto product = make_onednn_product(spec)) return product;
  }
  return make_gemm(spec, machine);
}

std::unique_ptr<const Product> make_divisible_product(const ProductSpec& spec,
                                                      const Machine& machine) {
  if (!is_known(spec) || onednn_is_fastest(spec, machine)) return nullptr;
  return make_gemm(spec, machine);
}

}  // namespace bessemer::kernels::cpu

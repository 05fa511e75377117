#include "kernels/cpu/product.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn_product.h"

namespace bessemer::kernels::cpu {
namespace {

bool multiplies(DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; }

/// oneDNN where the machine has the arithmetic; without bf16 instructions its bf16 product runs at
/// a fifth of the speed of fp32.
bool onednn_is_fastest(const ProductSpec& spec, const Machine& machine) {
  if (spec.a != spec.b) return false;
  if (spec.a == DType::bf16) return machine.avx512_bf16;
  return spec.result == DType::fp32 && spec.bias.value_or(DType::fp32) == DType::fp32;
}

}  // namespace

std::unique_ptr<const Product> make_product(const ProductSpec& spec, const Machine& machine) {
  if (!multiplies(spec.a) || !multiplies(spec.b) || !multiplies(spec.result) ||
      !multiplies(spec.bias.value_or(DType::fp32))) {
    return nullptr;
  }
  if (onednn_is_fastest(spec, machine)) {
    if (auto product = make_onednn_product(spec)) return product;
  }
  return make_gemm(spec, machine);
}

}  // namespace bessemer::kernels::cpu

// Our own matrix product: packed panels and a register-blocked inner product with fp32 sums, after
// Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008.
//
// Operands of bf16 become fp32 while they are packed, which every blocked product does anyway, so
// bf16 runs at the speed of fp32 on a machine without bf16 arithmetic. A sum runs over k in one
// fixed order: the bits of a result do not depend on threads, nor on the number of rows. With an
// fp32 result and no activation it starts from the addend, so that a product cut along k into
// several, each added to the one before, has the bits of the whole.
#pragma once

#include <memory>

#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {

/// a, b, result and bias each fp32 or bf16, in any mix.
std::unique_ptr<const Product> make_gemm(const ProductSpec& spec, const Machine& machine);

}  // namespace bessemer::kernels::cpu

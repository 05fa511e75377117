// The matrix product of a few rows, as decoding makes it: every element of b is used once or a few
// times, so b is read where it lies, once, and never packed. Bound by the rate at which b streams.
#pragma once

#include <memory>

#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {

/// Dtypes as in gemm.h; null where there are more rows than pay (8 where the columns of b are
/// contiguous, as a linear layer's are; 2 otherwise) or a is transposed. The order of a sum over k
/// does not depend on threads; it is not the order of make_gemm.
std::unique_ptr<const Product> make_skinny_product(const ProductSpec& spec, const Machine& machine);

}  // namespace bessemer::kernels::cpu

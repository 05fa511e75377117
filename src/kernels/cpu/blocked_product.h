// A large product as one product for each block of its matrix of weights (kernels/product_block.h):
//
//   columns  a bᵀ: a block of rows of b makes columns of the result
//   depth    a b: a block of rows of b is a part of the sum, and the parts are added in order
//   rows     aᵀ b: a block of rows of the result, which is the weights' gradient
//
// Sums of parts wait in fp32.
#pragma once

#include <memory>

#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {

/// Null where it would be one block, or is none of the three, or would have to add up parts before
/// a bias or an activation; or where no single product takes its dtypes.
std::unique_ptr<const Product> make_blocked_product(const ProductSpec& spec,
                                                    const Machine& machine);

/// Whether its matrix of weights is so large that it is always made in blocks.
bool has_large_matrix(const ProductSpec& spec);

}  // namespace bessemer::kernels::cpu

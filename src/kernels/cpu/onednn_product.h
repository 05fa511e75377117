// Matrix products by oneDNN, through its C interface: the primitive and its memory descriptors are
// made once, scratch is ours, and a run only sets pointers. (oneDNN 2.6 itself makes six to eight
// small allocations, some 300 bytes, for its table of arguments, and frees them.)
#pragma once

#include <memory>

#include "kernels/cpu/product.h"

namespace bessemer::kernels::cpu {

/// a and b both fp32, or both bf16; null where oneDNN has no optimised primitive for the spec.
std::unique_ptr<const Product> make_onednn_product(const ProductSpec& spec);

}  // namespace bessemer::kernels::cpu

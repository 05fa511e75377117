// quantize_fp8 and amax of what an element-wise program makes, in one kernel: the tensor itself is
// not read, and for quantize_fp8 not written either.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// Takes the programs of elementwise_ops.h that models have between products (activation functions
/// and their gradients, norms with known statistics), of bf16, with the transpose, and with one
/// scale or blocks of 1x128: of forward in E4M3, of backward in E5M2, or E4M3 with blocks. Declines
/// all else.
Prepared quantize_program(const KernelRequest& request);

/// The same programs for amax, but for norms, in any shape of whole tiles.
Prepared measure_program(const KernelRequest& request);

}  // namespace bessemer::kernels::cuda

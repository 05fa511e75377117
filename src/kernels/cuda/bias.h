// Biases of products: vectors of parameters, often in fp32 where what they are added to is bf16.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda {

/// Queued: `to` is `from` in the other one of fp32 and bf16.
void convert_bias(const void* from, DType dtype, void* to, std::int64_t elements, Stream stream);

}  // namespace bessemer::kernels::cuda

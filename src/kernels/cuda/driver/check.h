// What the driver's own answers become.
#pragma once

#include <cuda_runtime.h>

#include "base/error.h"

namespace bessemer::kernels::cuda {

/// Error with what CUDA says of it, unless it is a success.
inline void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess) fail("{}: {}", what, cudaGetErrorString(code));
}

}  // namespace bessemer::kernels::cuda

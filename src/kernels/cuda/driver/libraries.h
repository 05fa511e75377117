// NVIDIA's libraries of the version that this program is built for; NVRTC is in nvrtc.h.
#pragma once

#include "kernels/cuda/library.h"

namespace bessemer::kernels::cuda {

const Library& driver_library();  // libcuda, which comes with the driver
const Library& cublas_lt();
const Library& cudnn();
const Library& nccl();

}  // namespace bessemer::kernels::cuda

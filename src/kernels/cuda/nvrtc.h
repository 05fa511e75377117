// NVIDIA's run-time compiler, opened on first use: a program that never compiles for a device runs
// without it. Needs neither a device nor the CUDA toolkit to be built.
#pragma once

#include <string>

#include "kernels/cuda/library.h"

namespace bessemer::kernels::cuda {

const Library& nvrtc();

/// "13.0"; InputError where NVRTC is missing, as below.
std::string nvrtc_version();

/// What stands ahead of all source: nvrtc_compile's part of what jit.h promises.
std::string nvrtc_prelude();

/// Source to a cubin for `architecture`: "sm_90". Error with NVRTC's log and the source.
std::string nvrtc_compile(const std::string& source, const std::string& architecture);

}  // namespace bessemer::kernels::cuda

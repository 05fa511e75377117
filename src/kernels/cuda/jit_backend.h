// What jit.cpp asks of the device's side (driver/jit.cpp) and of the null device's (null/jit.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/jit.h"

namespace bessemer::kernels::cuda::jit_backend {

/// All that the code depends on beside the source: the compiler, its options, the architecture.
std::string identity();

/// Source to loadable code.
std::string compile(const std::string& source, const std::string& name);

/// What it loads stays until the process ends.
std::unique_ptr<const CompiledKernel> load(const std::string& code, const std::string& name);

}  // namespace bessemer::kernels::cuda::jit_backend

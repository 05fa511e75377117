// Kernels compiled while the program runs, from source that it writes itself: by NVRTC for the
// device (driver/), or by the host's compiler for the null device (null/), so that tests run the
// same source.
//
// The source is CUDA C++ without headers: threadIdx.x, blockIdx.x, blockDim.x and gridDim.x, the
// functions __uint_as_float, __float_as_uint, fabsf, fmaf, fminf, fmaxf and erff, and
//
//   unsigned pack_bf16(float low, float high)    both rounded to nearest, ties to even
//   float exp2_approx(float x)                   2^x within 2 units in the last place
//   float reciprocal_approx(float x)             1 / x within 1; both take subnormals for zero
//
// Threads do not wait for each other. Sums of products are not contracted, except by fmaf.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda {

class CompiledKernel {
 public:
  static constexpr std::size_t kMostArguments = 64;

  CompiledKernel() = default;
  CompiledKernel(const CompiledKernel&) = delete;
  CompiledKernel& operator=(const CompiledKernel&) = delete;
  virtual ~CompiledKernel() = default;

  /// Queues. Arguments are words of eight bytes: pointers and 64-bit integers, in order.
  virtual void launch(std::int64_t blocks, int threads, Stream stream,
                      std::span<const std::uint64_t> arguments) const = 0;
};

/// The extern "C" kernel `name` of `source`, for the current device. Compiled at the first call for
/// this source in the process, or read from the code cache; lives as long as the process. For
/// Kernel::load(): needs the device. Thread-safe. Error with the source and what the compiler says
/// of it; InputError where the compiler's library is missing.
const CompiledKernel& compile(const std::string& source, const std::string& name);

/// Where compiled code is kept for the next run, of any process; empty, as at first: nowhere.
void set_code_cache(std::filesystem::path directory);

}  // namespace bessemer::kernels::cuda

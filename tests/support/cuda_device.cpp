#include "support/cuda_device.h"

#include <memory>

#ifndef BESSEMER_CUDA
#include "kernels/cuda/null/stream.h"
#endif

namespace bessemer::testing {

const std::string& why_no_cuda_device() {
#ifdef BESSEMER_CUDA
  static const std::string reason = kernels::cuda::find_devices().problem;
#else
  static const std::string reason;
#endif
  return reason;
}

kernels::cuda::Device* cuda_device() {
#ifdef BESSEMER_CUDA
  static const std::unique_ptr<kernels::cuda::Device> device =
      why_no_cuda_device().empty() ? kernels::cuda::open_device(0) : nullptr;
#else
  static const std::unique_ptr<kernels::cuda::Device> device =
      kernels::cuda::null::make_null_device();
#endif
  return device.get();
}

kernels::cuda::Stream cuda_stream() {
  static const kernels::cuda::Stream stream = cuda_device()->new_stream();
  return stream;
}

}  // namespace bessemer::testing

#include "support/cuda_device.h"

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

std::unique_ptr<kernels::cuda::Device> new_cuda_device() {
#ifdef BESSEMER_CUDA
  return kernels::cuda::open_device(0);
#else
  return kernels::cuda::null::make_null_device();
#endif
}

kernels::cuda::Device* cuda_device() {
  static const std::unique_ptr<kernels::cuda::Device> device =
      why_no_cuda_device().empty() ? new_cuda_device() : nullptr;
  return device.get();
}

kernels::cuda::Stream cuda_stream() {
  static const kernels::cuda::Stream stream = cuda_device()->new_stream();
  return stream;
}

}  // namespace bessemer::testing

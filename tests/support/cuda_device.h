// The device that tests of CUDA kernels run on: number 0 where the build has CUDA, else the null
// device.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#ifndef BESSEMER_CUDA
#include "kernels/cuda/null/stream.h"
#endif

namespace bessemer::testing {

/// Why tests of CUDA kernels are skipped: the build has CUDA and this machine no device. Else empty.
inline const std::string& why_no_cuda_device() {
#ifdef BESSEMER_CUDA
  static const std::string reason = kernels::cuda::survey().problem;
#else
  static const std::string reason;
#endif
  return reason;
}

/// Null where there is a reason.
inline kernels::cuda::Device* cuda_device() {
#ifdef BESSEMER_CUDA
  static const std::unique_ptr<kernels::cuda::Device> device =
      why_no_cuda_device().empty() ? kernels::cuda::open_device(0) : nullptr;
#else
  static const std::unique_ptr<kernels::cuda::Device> device =
      kernels::cuda::null::make_null_device();
#endif
  return device.get();
}

inline kernels::cuda::Stream cuda_stream() {
  static const kernels::cuda::Stream stream = cuda_device()->new_stream();
  return stream;
}

/// Bytes on the device, filled from the host; gone with it.
class OnDevice {
 public:
  OnDevice(const void* from, std::size_t bytes)
      : bytes_(bytes), memory_(cuda_device()->allocate(bytes)) {
    if (from == nullptr || bytes == 0) return;
    kernels::cuda::copy(memory_, from, bytes, cuda_stream());
    cuda_device()->synchronize(cuda_stream());
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cuda_device()->free(memory_); }

  void* data() const { return memory_; }
  void read(void* to) const {
    if (bytes_ == 0) return;
    kernels::cuda::copy(to, memory_, bytes_, cuda_stream());
    cuda_device()->synchronize(cuda_stream());
  }

 private:
  std::size_t bytes_;
  void* memory_;
};

}  // namespace bessemer::testing

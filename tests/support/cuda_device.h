// The device that tests of CUDA kernels run on: number 0 where the build has CUDA, else the null
// device.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/device.h"

namespace bessemer::testing {

/// Why tests of CUDA kernels are skipped: the build has CUDA and this machine no device. Else
/// empty.
const std::string& why_no_cuda_device();

/// Null where there is a reason.
kernels::cuda::Device* cuda_device();
kernels::cuda::Stream cuda_stream();

/// One of its own, for what uses up streams and memory.
std::unique_ptr<kernels::cuda::Device> new_cuda_device();

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

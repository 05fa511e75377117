// Code of NVRTC, loaded by the runtime's library interface: nothing here links libcuda.
#include <array>

#include <cuda_runtime.h>
#include <fmt/format.h>

#include "kernels/cuda/driver/check.h"
#include "kernels/cuda/jit_backend.h"
#include "kernels/cuda/nvrtc.h"

namespace bessemer::kernels::cuda::jit_backend {
namespace {

std::string architecture() {
  int device = 0, major = 0, minor = 0;
  check(cudaGetDevice(&device), "the current device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "compute capability");
  return fmt::format("sm_{}{}", major, minor);
}

class DriverKernel final : public CompiledKernel {
 public:
  DriverKernel(const std::string& code, const std::string& name) {
    cudaLibrary_t library = nullptr;
    check(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
          "loading compiled code");
    check(cudaLibraryGetKernel(&kernel_, library, name.c_str()), "a kernel of compiled code");
    // Asked of it, the kernel goes to the device now; else it would at its first launch, which may
    // be captured.
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, function()), "compiled code on the device");
  }

  void launch(std::int64_t blocks, int threads, Stream stream,
              std::span<const std::uint64_t> arguments) const override {
    require(arguments.size() <= kMostArguments, "{} arguments of a kernel", arguments.size());
    std::array<void*, kMostArguments> addresses;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      addresses[i] = const_cast<std::uint64_t*>(&arguments[i]);  // only read
    }
    cudaLaunchConfig_t config{};
    config.gridDim = {static_cast<unsigned>(blocks), 1, 1};
    config.blockDim = {static_cast<unsigned>(threads), 1, 1};
    config.stream = static_cast<cudaStream_t>(stream);
    check(cudaLaunchKernelExC(&config, function(), addresses.data()), "launch of compiled code");
  }

 private:
  const void* function() const { return reinterpret_cast<const void*>(kernel_); }

  cudaKernel_t kernel_ = nullptr;
};

}  // namespace

std::string identity() {
  return fmt::format("NVRTC {} {}\n{}", nvrtc_version(), architecture(), nvrtc_prelude());
}

std::string compile(const std::string& source, const std::string&) {
  return nvrtc_compile(source, architecture());
}

std::unique_ptr<const CompiledKernel> load(const std::string& code, const std::string& name) {
  return std::make_unique<DriverKernel>(code, name);
}

}  // namespace bessemer::kernels::cuda::jit_backend

// What this machine has for CUDA, or what it lacks, in words.
#include "kernels/cuda/driver/survey.h"

#include <cuda_runtime.h>

#include "kernels/cuda/driver/check.h"
#include "kernels/cuda/driver/libraries.h"
#include "kernels/cuda/nvrtc.h"

namespace bessemer::kernels::cuda {
namespace {

// 13020: 13.2
std::string version_text(int cuda) { return fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10); }

// 0 where there is no driver.
int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

std::string why_none(cudaError_t code) {
  if (!driver_library().is_open()) return driver_library().problem();
  if (code == cudaErrorStubLibrary) {
    return "libcuda.so.1 is the toolkit's stub, which stands for a driver at link time only: take "
           "its folder out of LD_LIBRARY_PATH";
  }
  if (code == cudaErrorInsufficientDriver) {
    return fmt::format(
        "the NVIDIA driver is too old: it knows CUDA {}, and this program was built with CUDA {}; "
        "install a newer driver, or build with a toolkit as old as the driver",
        version_text(driver_version()), version_text(CUDART_VERSION));
  }
  if (code == cudaSuccess || code == cudaErrorNoDevice) {
    return "the NVIDIA driver is there and shows no device: see what `nvidia-smi` lists, and "
           "whether CUDA_VISIBLE_DEVICES hides it";
  }
  return fmt::format("the NVIDIA driver shows no device: {}; see what `nvidia-smi` says",
                     cudaGetErrorString(code));
}

// 130002: 13.0.2, as cuBLASLt, cuDNN 9 and NCCL number themselves.
std::string version_text_of(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string version_of(const Library& library, std::string (*ask)(const Library&)) {
  if (!library.is_open()) return fmt::format("{} missing: {}", library.name(), library.remedy());
  return fmt::format("{} {}", library.name(), ask(library));
}

std::vector<std::string> library_versions() {
  return {
      version_of(cublas_lt(),
                 [](const Library& library) {
                   return version_text_of(library.function<std::size_t()>("cublasLtGetVersion")());
                 }),
      version_of(cudnn(),
                 [](const Library& library) {
                   return version_text_of(library.function<std::size_t()>("cudnnGetVersion")());
                 }),
      version_of(nccl(),
                 [](const Library& library) {
                   int version = 0;
                   library.function<int(int*)>("ncclGetVersion")(&version);
                   return version_text_of(static_cast<std::size_t>(version));
                 }),
      version_of(nvrtc(),
                 [](const Library& library) {
                   int major = 0, minor = 0;
                   library.function<int(int*, int*)>("nvrtcVersion")(&major, &minor);
                   return fmt::format("{}.{}", major, minor);
                 }),
  };
}

}  // namespace

DeviceCount count_devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return {count, ""};
  return {0, why_none(code)};
}

DeviceProperties properties_of(int index) {
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, index), "properties of a CUDA device");
  return {device.name, device.major * 10 + device.minor, device.multiProcessorCount,
          device.totalGlobalMem, 0};
}

Devices find_devices() {
  const DeviceCount there = count_devices();
  Devices found;
  found.problem = there.problem;
  if (const int version = driver_version(); version > 0) {
    found.driver = "CUDA " + version_text(version);
  }
  for (int i = 0; i < there.count; ++i) found.devices.push_back(properties_of(i));
  return found;
}

Survey survey() {
  Survey survey{find_devices(), {}};
  survey.libraries = library_versions();
  return survey;
}

}  // namespace bessemer::kernels::cuda

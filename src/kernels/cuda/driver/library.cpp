#include "kernels/cuda/driver/library.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

namespace bessemer::kernels::cuda {
namespace {

constexpr int kToolkit = CUDART_VERSION / 1000;  // the major version that this is built with

// Libraries of the toolkit: of its major version, also where only the toolkit's folder has them.
Library of_toolkit(const char* name, const char* file) {
  const std::string soname = fmt::format("{}.so.{}", file, kToolkit);
  return Library(name, {soname, "/usr/local/cuda/lib64/" + soname},
                 fmt::format("install it with the CUDA toolkit {0}, or put the folder that holds "
                             "{1} into LD_LIBRARY_PATH",
                             kToolkit, soname));
}

Library of_package(const char* name, const std::string& soname, const char* package) {
  return Library(name, {soname, "/usr/local/cuda/lib64/" + soname},
                 fmt::format("install {} (for CUDA {}), or put the folder that holds {} into "
                             "LD_LIBRARY_PATH",
                             package, kToolkit, soname));
}

}  // namespace

Library::Library(std::string name, const std::vector<std::string>& files, std::string remedy)
    : name_(std::move(name)), remedy_(std::move(remedy)) {
  for (const std::string& file : files) {
    handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    const char* said = ::dlerror();
    if (reason_.empty()) reason_ = said != nullptr ? said : file;
  }
}

std::string Library::problem() const {
  return is_open() ? "" : fmt::format("no {} ({}): {}", name_, reason_, remedy_);
}

void* Library::address_of(const char* symbol) const {
  require_input(is_open(), "{}", problem());
  void* address = ::dlsym(handle_, symbol);
  require_input(address != nullptr, "{} is too old, it has no {}: {}", name_, symbol, remedy_);
  return address;
}

const Library& driver_library() {
  static const Library library(
      "NVIDIA driver", {"libcuda.so.1"},
      "install it; a container must be given the devices (docker run --gpus all)");
  return library;
}
const Library& cublas_lt() {
  static const Library library = of_toolkit("cuBLASLt", "libcublasLt");
  return library;
}
const Library& cudnn() {
  static const Library library = of_package("cuDNN", "libcudnn.so.9", "cuDNN 9");
  return library;
}
const Library& nccl() {
  static const Library library = of_package("NCCL", "libnccl.so.2", "NCCL 2");
  return library;
}
const Library& nvrtc() {
  static const Library library = of_toolkit("NVRTC", "libnvrtc");
  return library;
}

}  // namespace bessemer::kernels::cuda

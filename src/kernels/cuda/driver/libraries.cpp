#include "kernels/cuda/driver/libraries.h"

#include <cuda_runtime.h>

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

}  // namespace bessemer::kernels::cuda

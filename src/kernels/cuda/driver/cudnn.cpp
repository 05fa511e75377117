#include "kernels/cuda/driver/cudnn.h"

#include <array>

#include "base/error.h"
#include "kernels/cuda/driver/libraries.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::size_t kOldest = 91000;  // 9.10: the first to mask with -infinity

}  // namespace

const Cudnn& Cudnn::get() {
  static const Cudnn library;
  return library;
}

Cudnn::Cudnn() {
  const Library& library = cudnn();
  const auto open = [&]<typename Function>(Function*& function, const char* symbol) {
    function = library.function<Function>(symbol);
  };
  open(get_version, "cudnnGetVersion");
  require_input(get_version() >= kOldest, "cuDNN is version {}, expected 9.10 or newer: {}",
                get_version(), library.remedy());
  open(get_error_string, "cudnnGetErrorString");
  open(get_last_error_string, "cudnnGetLastErrorString");
  open(set_stream, "cudnnSetStream");
  open(create, "cudnnBackendCreateDescriptor");
  open(destroy, "cudnnBackendDestroyDescriptor");
  open(set_attribute, "cudnnBackendSetAttribute");
  open(get_attribute, "cudnnBackendGetAttribute");
  open(finalize, "cudnnBackendFinalize");
  open(execute, "cudnnBackendExecute");
  check(library.function<decltype(cudnnCreate)>("cudnnCreate")(&handle), "starting cuDNN");
}

void Cudnn::check(cudnnStatus_t status, std::string_view what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 1024> said{};
  get_last_error_string(said.data(), said.size());
  fail("{}: cuDNN: {} ({})", what, get_error_string(status), said.data());
}

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type)
    : made_(nullptr, Cudnn::get().destroy) {
  cudnnBackendDescriptor_t made = nullptr;
  Cudnn::get().check(Cudnn::get().create(type, &made), "a descriptor");
  made_.reset(made);
}

CudnnDescriptor& CudnnDescriptor::finalize() {
  Cudnn::get().check(Cudnn::get().finalize(get()), "finishing a descriptor");
  return *this;
}

bool CudnnDescriptor::try_to_finalize() {
  return Cudnn::get().finalize(get()) == CUDNN_STATUS_SUCCESS;
}

std::int64_t CudnnDescriptor::read(cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, std::int64_t most,
                                   void* values) const {
  std::int64_t count = 0;
  Cudnn::get().check(Cudnn::get().get_attribute(get(), name, type, most, &count, values),
                     "reading a descriptor");
  return count;
}

void CudnnDescriptor::set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                std::int64_t count, const void* values) {
  Cudnn::get().check(Cudnn::get().set_attribute(get(), name, type, count, values),
                     "an attribute of a descriptor");
}

}  // namespace bessemer::kernels::cuda

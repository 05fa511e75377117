// cuDNN's graph API (the "backend" functions of cudnn_graph.h): the library, opened on first use,
// and its descriptors.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include <cudnn_graph.h>

namespace bessemer::kernels::cuda {

/// The library and a handle of it, for the current device.
class Cudnn {
 public:
  /// Opened by the first call; InputError where it is not there or too old.
  static const Cudnn& get();

  /// Error with what cuDNN says of it, unless it is a success.
  void check(cudnnStatus_t status, std::string_view what) const;

  decltype(cudnnGetVersion)* get_version;
  decltype(cudnnGetErrorString)* get_error_string;
  decltype(cudnnGetLastErrorString)* get_last_error_string;
  decltype(cudnnSetStream)* set_stream;
  decltype(cudnnBackendCreateDescriptor)* create;
  decltype(cudnnBackendDestroyDescriptor)* destroy;
  decltype(cudnnBackendSetAttribute)* set_attribute;
  decltype(cudnnBackendGetAttribute)* get_attribute;
  decltype(cudnnBackendFinalize)* finalize;
  decltype(cudnnBackendExecute)* execute;
  cudnnHandle_t handle = nullptr;

 private:
  Cudnn();
};

/// One of cuDNN's descriptors: made, given attributes, finalized, used.
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type);

  cudnnBackendDescriptor_t get() const { return made_.get(); }

  template <typename T>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       std::span<const T> values) {
    set_bytes(name, type, static_cast<std::int64_t>(values.size()), values.data());
    return *this;
  }
  template <typename T>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       const T& value) {
    set_bytes(name, type, 1, &value);
    return *this;
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.get());
  }
  CudnnDescriptor& finalize();
  /// The same; false where cuDNN does not do it.
  bool try_to_finalize();

  /// How many values were written to `values`, which has room for `most`; for null, how many there
  /// are.
  std::int64_t read(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                    std::int64_t most, void* values) const;

 private:
  void set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                 std::int64_t count, const void* values);

  std::unique_ptr<void, cudnnStatus_t (*)(cudnnBackendDescriptor_t)> made_;
};

}  // namespace bessemer::kernels::cuda

// A graph of cuDNN's operations, put together one by one, and the plan that runs it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/driver/cudnn.h"

namespace bessemer::kernels::cuda {

class CudnnGraph {
 public:
  using Dims = std::array<std::int64_t, 4>;

  /// What the graph's operations read and write. As long as the graph.
  struct Tensor {
    cudnnBackendDescriptor_t descriptor;
    std::int64_t id;
    Dims dims;
  };

  struct Pointwise {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t result = CUDNN_DATA_FLOAT;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    std::int64_t axis = -1;
  };

  /// In memory, which `run` is given; at a multiple of 16 bytes.
  Tensor memory(cudnnDataType_t type, const Dims& dims, const Dims& strides);
  /// Inside of the graph only, never in memory as a rule. Row-major.
  Tensor inner(cudnnDataType_t type, const Dims& dims);
  Tensor inner(cudnnDataType_t type, const Dims& dims, const Dims& strides);
  Tensor number(float value);

  /// The last two dimensions are a matrix's.
  void matmul(const Tensor& a, const Tensor& b, const Tensor& result);
  void pointwise(const Pointwise& op, std::initializer_list<Tensor> inputs, const Tensor& result);
  /// The same into an inner tensor of the first input's dims.
  Tensor pointwise(const Pointwise& op, std::initializer_list<Tensor> inputs);
  /// Over the dims in which `result` has 1 and x has more, or fewer and x a multiple.
  void reduce(cudnnReduceTensorOp_t op, const Tensor& x, const Tensor& result);
  /// The same elements seen in another way: a transpose.
  void reshape(const Tensor& x, const Tensor& result);

  /// The best deterministic plan that cuDNN has for the device, with at most so many bytes of
  /// workspace; Error where there is none.
  void make_plan(std::int64_t most_workspace);

  /// `memory` tensors and where they are; workspace at a multiple of 256 bytes.
  void run(std::span<const std::pair<Tensor, const void*>> tensors, void* workspace,
           void* stream) const;

 private:
  CudnnDescriptor& tensor(cudnnDataType_t type, const Dims& dims, const Dims& strides);
  CudnnDescriptor& add_operation(cudnnBackendDescriptorType_t type);
  Tensor finished(CudnnDescriptor& descriptor, const Dims& dims);

  std::deque<CudnnDescriptor> descriptors_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  std::deque<float> numbers_;
  std::vector<std::int64_t> number_ids_;
  std::int64_t next_id_ = 1;
  const CudnnDescriptor* plan_ = nullptr;
};

}  // namespace bessemer::kernels::cuda

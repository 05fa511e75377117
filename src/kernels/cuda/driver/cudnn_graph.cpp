#include "kernels/cuda/driver/cudnn_graph.h"

#include <algorithm>

#include "base/error.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  // of tensors in memory, in bytes

CudnnGraph::Dims row_major(const CudnnGraph::Dims& dims) {
  return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
}

/// Engines of a graph for the device, best first.
std::deque<CudnnDescriptor> engine_configs(const CudnnDescriptor& graph) {
  CudnnDescriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A)
      .finalize();
  const auto read = [&](std::int64_t most, void* values) {
    return heuristic.read(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, most,
                          values);
  };
  std::deque<CudnnDescriptor> configs;
  std::vector<cudnnBackendDescriptor_t> all;
  for (std::int64_t i = read(0, nullptr); i > 0; --i) {
    all.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  const std::int64_t found =
      all.empty() ? 0 : read(static_cast<std::int64_t>(all.size()), all.data());
  while (static_cast<std::int64_t>(configs.size()) > found) configs.pop_back();
  return configs;
}

/// Whether each run gives the same bits, as cuDNN says.
bool is_deterministic(const CudnnDescriptor& config) {
  const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t of_config = engine.get();
  config.read(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of_config);
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes;
  const std::int64_t count =
      engine.read(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                  static_cast<std::int64_t>(notes.size()), notes.data());
  return std::find(notes.begin(), notes.begin() + count, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ==
         notes.begin() + count;
}

}  // namespace

CudnnDescriptor& CudnnGraph::tensor(cudnnDataType_t type, const Dims& dims, const Dims& strides) {
  CudnnDescriptor& made = descriptors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, next_id_++)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(dims))
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const std::int64_t>(strides))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
  return made;
}

CudnnGraph::Tensor CudnnGraph::finished(CudnnDescriptor& descriptor, const Dims& dims) {
  return {descriptor.finalize().get(), next_id_ - 1, dims};
}

CudnnGraph::Tensor CudnnGraph::memory(cudnnDataType_t type, const Dims& dims, const Dims& strides) {
  return finished(tensor(type, dims, strides), dims);
}

CudnnGraph::Tensor CudnnGraph::inner(cudnnDataType_t type, const Dims& dims) {
  return inner(type, dims, row_major(dims));
}

CudnnGraph::Tensor CudnnGraph::inner(cudnnDataType_t type, const Dims& dims, const Dims& strides) {
  CudnnDescriptor& made = tensor(type, dims, strides);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
  return finished(made, dims);
}

CudnnGraph::Tensor CudnnGraph::number(float value) {
  const Dims one{1, 1, 1, 1};
  CudnnDescriptor& made = tensor(CUDNN_DATA_FLOAT, one, one);
  made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true);
  numbers_.push_back(value);
  number_ids_.push_back(next_id_ - 1);
  return finished(made, one);
}

CudnnDescriptor& CudnnGraph::add_operation(cudnnBackendDescriptorType_t type) {
  CudnnDescriptor& made = descriptors_.emplace_back(type);
  operations_.push_back(made.get());
  return made;
}

void CudnnGraph::matmul(const Tensor& a, const Tensor& b, const Tensor& result) {
  CudnnDescriptor& how = descriptors_.emplace_back(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finalize();
  add_operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, a.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, b.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, result.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
      .finalize();
}

void CudnnGraph::pointwise(const Pointwise& op, std::initializer_list<Tensor> inputs,
                           const Tensor& result) {
  CudnnDescriptor& how = descriptors_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, op.mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, op.compute);
  if (op.mode == CUDNN_POINTWISE_GEN_INDEX) {
    how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, op.axis);
  }
  how.finalize();
  CudnnDescriptor& operation = add_operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  constexpr cudnnBackendAttributeName_t kInputs[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                                     CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                                     CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
  const auto* name = kInputs;
  for (const Tensor& input : inputs) {
    operation.set(*name++, CUDNN_TYPE_BACKEND_DESCRIPTOR, input.descriptor);
  }
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                result.descriptor);
  operation.finalize();
}

CudnnGraph::Tensor CudnnGraph::pointwise(const Pointwise& op,
                                         std::initializer_list<Tensor> inputs) {
  const Tensor result = inner(op.result, inputs.begin()->dims);
  pointwise(op, inputs, result);
  return result;
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t op, const Tensor& x, const Tensor& result) {
  CudnnDescriptor& how = descriptors_.emplace_back(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, op)
      .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .finalize();
  add_operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, result.descriptor)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
      .finalize();
}

void CudnnGraph::reshape(const Tensor& x, const Tensor& result) {
  add_operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, result.descriptor)
      .finalize();
}

void CudnnGraph::make_plan(std::int64_t most_workspace) {
  const cudnnHandle_t handle = Cudnn::get().handle;
  CudnnDescriptor& graph = descriptors_.emplace_back(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
           std::span<const cudnnBackendDescriptor_t>(operations_))
      .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle)
      .finalize();
  std::int64_t least = -1;
  for (const CudnnDescriptor& config : engine_configs(graph)) {
    if (!is_deterministic(config)) continue;
    CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (!plan.try_to_finalize()) continue;
    std::int64_t workspace = 0;
    plan.read(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &workspace);
    if (workspace <= most_workspace) {
      plan_ = &descriptors_.emplace_back(std::move(plan));
      return;
    }
    least = least < 0 ? workspace : std::min(least, workspace);
  }
  require(least < 0, "cuDNN's plans take {} bytes of workspace or more, and {} were foreseen",
          least, most_workspace);
  fail("cuDNN {} has no deterministic plan for this", Cudnn::get().get_version());
}

void CudnnGraph::run(std::span<const std::pair<Tensor, const void*>> tensors, void* workspace,
                     void* stream) const {
  const Cudnn& cudnn = Cudnn::get();
  require(plan_ != nullptr, "a graph of cuDNN runs before it has a plan");
  std::vector<std::int64_t> ids = number_ids_;
  std::vector<const void*> pointers;
  for (const float& number : numbers_) pointers.push_back(&number);
  for (const auto& [tensor, data] : tensors) {
    ids.push_back(tensor.id);
    pointers.push_back(data);
  }
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(ids))
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
           std::span<const void* const>(pointers))
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
      .finalize();
  cudnn.check(cudnn.set_stream(cudnn.handle, static_cast<cudaStream_t>(stream)), "a stream");
  cudnn.check(cudnn.execute(cudnn.handle, plan_->get(), pack.get()), "running a graph");
}

}  // namespace bessemer::kernels::cuda

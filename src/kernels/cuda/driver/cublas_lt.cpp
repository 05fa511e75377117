#include "kernels/cuda/driver/cublas_lt.h"

#include <limits>

#include "base/error.h"
#include "kernels/cuda/driver/libraries.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::uint32_t kAlignment = 64;  // of all buffers, in bytes

cudaDataType_t data_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

template <typename Set, typename Descriptor, typename Attribute, typename Value>
void set(Set* set_attribute, Descriptor* descriptor, Attribute attribute, Value value,
         std::string_view what) {
  check(set_attribute(descriptor, attribute, &value, sizeof(value)), what);
}

cublasLtEpilogue_t epilogue_of(const ProductSpec& spec) {
  if (spec.activation == ProductSpec::Activation::gelu_tanh) {
    return spec.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  }
  return spec.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

}  // namespace

const CublasLt& CublasLt::get() {
  static const CublasLt library;
  return library;
}

CublasLt::CublasLt() {
  const Library& library = cublas_lt();
  const auto open = [&]<typename Function>(Function*& function, const char* symbol) {
    function = library.function<Function>(symbol);
  };
  open(get_version, "cublasLtGetVersion");
  open(get_status_string, "cublasLtGetStatusString");
  open(matmul, "cublasLtMatmul");
  open(matmul_create, "cublasLtMatmulDescCreate");
  open(matmul_destroy, "cublasLtMatmulDescDestroy");
  open(matmul_set, "cublasLtMatmulDescSetAttribute");
  open(layout_create, "cublasLtMatrixLayoutCreate");
  open(layout_destroy, "cublasLtMatrixLayoutDestroy");
  open(layout_set, "cublasLtMatrixLayoutSetAttribute");
  open(preference_create, "cublasLtMatmulPreferenceCreate");
  open(preference_destroy, "cublasLtMatmulPreferenceDestroy");
  open(preference_set, "cublasLtMatmulPreferenceSetAttribute");
  open(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  open(algorithm_check, "cublasLtMatmulAlgoCheck");
  open(algorithm_get, "cublasLtMatmulAlgoConfigGetAttribute");
  check(library.function<decltype(cublasLtCreate)>("cublasLtCreate")(&handle), "starting cuBLASLt");
}

std::optional<std::uint32_t> CublasLt::reduction_scheme(
    const cublasLtMatmulAlgo_t& algorithm) const {
  std::uint32_t scheme = 0;
  std::size_t written = 0;
  const cublasStatus_t status = algorithm_get(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                              &scheme, sizeof(scheme), &written);
  if (status != CUBLAS_STATUS_SUCCESS) return std::nullopt;
  return scheme;
}

void CublasLt::check(cublasStatus_t status, std::string_view what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("{}: cuBLASLt: {} ({})", what, get_status_string(status), static_cast<int>(status));
}

CublasCall::CublasCall(const ProductSpec& spec)
    : spec_(spec),
      operation_(nullptr, CublasLt::get().matmul_destroy),
      first_(layout(spec.input, spec.transpose_b ? spec.k : spec.n,
                    spec.transpose_b ? spec.n : spec.k, spec.transpose_b ? spec.k : spec.n,
                    spec.batch)),
      second_(layout(spec.input, spec.transpose_a ? spec.m : spec.k,
                     spec.transpose_a ? spec.k : spec.m, spec.a_stride(), spec.batch)),
      result_(layout(spec.result, spec.n, spec.m, spec.result_stride(), spec.batch)) {
  const CublasLt& lt = CublasLt::get();
  constexpr const char* kWhat = "describing a matrix product";
  cublasLtMatmulDesc_t made = nullptr;
  // fp32 operands are multiplied as fp32: TF32 is a compute type of its own.
  check(lt.matmul_create(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), kWhat);
  operation_.reset(made);
  const auto operation = [](bool transposed) -> std::int32_t {
    return transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_TRANSA, operation(spec.transpose_b), kWhat);
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_TRANSB, operation(spec.transpose_a), kWhat);
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE,
      static_cast<std::uint32_t>(epilogue_of(spec)), kWhat);
  if (!spec.bias) return;
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
      static_cast<std::int32_t>(data_type(spec.result)), kWhat);
  // The heuristic takes the bias's alignment from its address.
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
      reinterpret_cast<const void*>(std::uintptr_t{kAlignment}), kWhat);
}

/// Column-major; the matrices of a batch lie one behind the other.
CublasCall::Layout CublasCall::layout(DType dtype, std::int64_t rows, std::int64_t columns,
                                      std::int64_t stride, std::int64_t batch) {
  const CublasLt& lt = CublasLt::get();
  constexpr const char* kWhat = "describing an operand of a matrix product";
  cublasLtMatrixLayout_t made = nullptr;
  check(lt.layout_create(&made, data_type(dtype), static_cast<std::uint64_t>(rows),
                         static_cast<std::uint64_t>(columns), stride),
        kWhat);
  Layout owned(made, lt.layout_destroy);
  if (batch == 1) return owned;
  set(lt.layout_set, made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch),
      kWhat);
  set(lt.layout_set, made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, columns * stride, kWhat);
  return owned;
}

std::vector<cublasLtMatmulAlgo_t> CublasCall::heuristic(std::size_t workspace_bytes,
                                                        int most) const {
  const CublasLt& lt = CublasLt::get();
  constexpr const char* kWhat = "asking for algorithms of a matrix product";
  cublasLtMatmulPreference_t made = nullptr;
  check(lt.preference_create(&made), kWhat);
  const Handle<cublasLtMatmulPreferenceOpaque_t> preference(made, lt.preference_destroy);
  set(lt.preference_set, made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      std::uint64_t{workspace_bytes}, kWhat);
  set(lt.preference_set, made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE), kWhat);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(lt.preference_set, made, attribute, kAlignment, kWhat);
  }
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status =
      lt.heuristic(lt.handle, operation_.get(), first_.get(), second_.get(), result_.get(),
                   result_.get(), preference.get(), most, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  check(status, kWhat);
  found.resize(static_cast<std::size_t>(count));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (const auto& one : found) {
    if (one.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(one.algo);
  }
  return algorithms;
}

std::size_t CublasCall::workspace_of(const cublasLtMatmulAlgo_t& algorithm) const {
  const CublasLt& lt = CublasLt::get();
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      lt.algorithm_check(lt.handle, operation_.get(), first_.get(), second_.get(), result_.get(),
                         result_.get(), &algorithm, &result);
  if (status != CUBLAS_STATUS_SUCCESS) return std::numeric_limits<std::size_t>::max();
  return result.workspaceSize;
}

cublasStatus_t CublasCall::queue(const ProductBuffers& buffers,
                                 const cublasLtMatmulAlgo_t& algorithm, std::size_t workspace_bytes,
                                 cudaStream_t stream) const {
  const CublasLt& lt = CublasLt::get();
  std::unique_lock lock(bias_, std::defer_lock);
  if (spec_.bias) {
    lock.lock();
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.bias,
        "the bias of a matrix product");
  }
  const float alpha = 1, beta = spec_.addend ? 1 : 0;
  const void* addend = spec_.addend ? buffers.addend : buffers.result;
  return lt.matmul(lt.handle, operation_.get(), &alpha, buffers.b, first_.get(), buffers.a,
                   second_.get(), &beta, addend, result_.get(), buffers.result, result_.get(),
                   &algorithm, buffers.scratch, workspace_bytes, stream);
}

}  // namespace bessemer::kernels::cuda

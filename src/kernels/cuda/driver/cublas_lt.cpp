#include "kernels/cuda/driver/cublas_lt.h"

#include <limits>

#include "base/error.h"
#include "kernels/cuda/driver/libraries.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::uint32_t kAlignment = 64;  // of all buffers, in bytes

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::bf16: return CUDA_R_16BF;
    case DType::fp8_e4m3: return CUDA_R_8F_E4M3;
    case DType::fp8_e5m2: return CUDA_R_8F_E5M2;
    default: return CUDA_R_32F;
  }
}

template <typename Set, typename Descriptor, typename Attribute, typename Value>
void set(Set* set_attribute, Descriptor* descriptor, Attribute attribute, Value value,
         std::string_view what) {
  check(set_attribute(descriptor, attribute, &value, sizeof(value)), what);
}

bool is_of_gradient(const ProductSpec& spec) {
  return spec.activation == ProductSpec::Activation::gelu_tanh_grad;
}

cublasLtEpilogue_t epilogue_of(const ProductSpec& spec) {
  if (spec.activation == ProductSpec::Activation::gelu_tanh) {
    return spec.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  }
  if (is_of_gradient(spec)) return CUBLASLT_EPILOGUE_DGELU;
  if (spec.row_sums) return CUBLASLT_EPILOGUE_BGRADB;  // of cuBLASLt's B, our a
  return spec.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

bool is_by_blocks(const ProductSpec& spec) {
  return spec.is_fp8() && spec.block_a != Fp8Block::tensor;
}

#if CUBLAS_VERSION >= 120900
std::int32_t scale_mode(Fp8Block block) {
  return block == Fp8Block::row ? CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F
                                : CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
}
#endif

/// cuBLASLt's A is our b.
void set_scale_modes(cublasLtMatmulDesc_t operation, const ProductSpec& spec) {
  if (!is_by_blocks(spec)) return;
#if CUBLAS_VERSION >= 120900
  const CublasLt& lt = CublasLt::get();
  constexpr const char* kWhat = "describing the scales of a matrix product";
  set(lt.matmul_set, operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, scale_mode(spec.block_b), kWhat);
  set(lt.matmul_set, operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, scale_mode(spec.block_a), kWhat);
#else
  static_cast<void>(operation);
  fail("this build's cuBLASLt has no fp8 in blocks");
#endif
}

}  // namespace

bool has_block_scaling() { return CUBLAS_VERSION >= 120900; }

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
      first_(layout(spec.b, spec.transpose_b ? spec.k : spec.n, spec.transpose_b ? spec.n : spec.k,
                    spec.transpose_b ? spec.k : spec.n, spec.batch)),
      second_(layout(spec.a, spec.transpose_a ? spec.m : spec.k, spec.transpose_a ? spec.k : spec.m,
                     spec.a_stride(), spec.batch)),
      result_(layout(spec.result, spec.n, spec.m, spec.result_stride(), spec.batch)) {
  const CublasLt& lt = CublasLt::get();
  constexpr const char* kWhat = "describing a matrix product";
  cublasLtMatmulDesc_t made = nullptr;
  // fp32 operands are multiplied as fp32: TF32 is a compute type of its own. Sums of fp8 products
  // keep 14 bits on Hopper unless they are moved into fp32 registers every so often (DeepSeek-V3,
  // 2024, 3.3.2), which is what cuBLASLt does unless it is told to accumulate fast; so it is not.
  check(lt.matmul_create(&made, spec.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                         CUDA_R_32F),
        kWhat);
  operation_.reset(made);
  const auto operation = [](bool transposed) -> std::int32_t {
    return transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  };
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_TRANSA, operation(spec.transpose_b), kWhat);
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_TRANSB, operation(spec.transpose_a), kWhat);
  set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE,
      static_cast<std::uint32_t>(epilogue_of(spec)), kWhat);
  set_scale_modes(made, spec);
  if (spec.bias || spec.row_sums) {
    const DType dtype = spec.bias ? spec.bias_dtype() : DType::fp32;
    set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
        static_cast<std::int32_t>(data_type(dtype)), kWhat);
  }
  if (is_of_gradient(spec)) {
    set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, spec.n, kWhat);
    set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, spec.m * spec.n,
        kWhat);
    set(lt.matmul_set, made, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE,
        static_cast<std::int32_t>(data_type(spec.result)), kWhat);
  }
  // The heuristic takes alignments from addresses.
  void* anywhere = reinterpret_cast<void*>(std::uintptr_t{kAlignment});
  ProductBuffers buffers;
  buffers.bias = buffers.x = anywhere;
  buffers.scale_a = buffers.scale_b = buffers.row_sums = static_cast<float*>(anywhere);
  set_addresses(buffers);
}

void CublasCall::set_addresses(const ProductBuffers& buffers) const {
  const CublasLt& lt = CublasLt::get();
  if (spec_.bias) {
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.bias,
        "the bias of a matrix product");
  }
  if (spec_.row_sums) {
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.row_sums,
        "the sums of rows of a matrix product");
  }
  if (is_of_gradient(spec_)) {
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, buffers.x,
        "what the epilogue of a matrix product reads");
  }
  if (spec_.is_fp8()) {
    constexpr const char* kWhat = "the scales of a matrix product";
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, buffers.scale_b,
        kWhat);
    set(lt.matmul_set, operation_.get(), CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, buffers.scale_a,
        kWhat);
  }
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
  std::unique_lock lock(addresses_, std::defer_lock);
  if (spec_.bias || spec_.row_sums || spec_.is_fp8() || is_of_gradient(spec_)) lock.lock();
  set_addresses(buffers);
  const float alpha = 1, beta = spec_.addend ? 1 : 0;
  const void* addend = spec_.addend ? buffers.addend : buffers.result;
  return lt.matmul(lt.handle, operation_.get(), &alpha, buffers.b, first_.get(), buffers.a,
                   second_.get(), &beta, addend, result_.get(), buffers.result, result_.get(),
                   &algorithm, buffers.scratch, workspace_bytes, stream);
}

}  // namespace bessemer::kernels::cuda

// cuBLASLt as products use it: its functions, opened on first use, and one call described.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include <cublasLt.h>

#include "kernels/cuda/product.h"

namespace bessemer::kernels::cuda {

/// The library and a handle of it, for the current device. Thread-safe.
class CublasLt {
 public:
  /// Opened by the first call; InputError where it is not there.
  static const CublasLt& get();

  std::size_t version() const { return get_version(); }

  /// cublasLtReductionScheme_t: how partial sums along k are added. None of what is no algorithm.
  std::optional<std::uint32_t> reduction_scheme(const cublasLtMatmulAlgo_t& algorithm) const;

  /// Error with what cuBLASLt says of it, unless it is a success.
  void check(cublasStatus_t status, std::string_view what) const;

  decltype(cublasLtGetVersion)* get_version;
  decltype(cublasLtGetStatusString)* get_status_string;
  decltype(cublasLtMatmul)* matmul;
  decltype(cublasLtMatmulDescCreate)* matmul_create;
  decltype(cublasLtMatmulDescDestroy)* matmul_destroy;
  decltype(cublasLtMatmulDescSetAttribute)* matmul_set;
  decltype(cublasLtMatrixLayoutCreate)* layout_create;
  decltype(cublasLtMatrixLayoutDestroy)* layout_destroy;
  decltype(cublasLtMatrixLayoutSetAttribute)* layout_set;
  decltype(cublasLtMatmulPreferenceCreate)* preference_create;
  decltype(cublasLtMatmulPreferenceDestroy)* preference_destroy;
  decltype(cublasLtMatmulPreferenceSetAttribute)* preference_set;
  decltype(cublasLtMatmulAlgoGetHeuristic)* heuristic;
  decltype(cublasLtMatmulAlgoCheck)* algorithm_check;
  decltype(cublasLtMatmulAlgoConfigGetAttribute)* algorithm_get;
  cublasLtHandle_t handle = nullptr;

 private:
  CublasLt();
};

inline void check(cublasStatus_t status, std::string_view what) {
  if (status != CUBLAS_STATUS_SUCCESS) CublasLt::get().check(status, what);
}

/// A product as cuBLASLt describes it: the operation and the four matrices. Thread-safe.
class CublasCall {
 public:
  explicit CublasCall(const ProductSpec& spec);

  /// At most `most` algorithms that it recommends, best first.
  std::vector<cublasLtMatmulAlgo_t> heuristic(std::size_t workspace_bytes, int most) const;

  /// What the algorithm needs; more than there can be where it does not do this product.
  std::size_t workspace_of(const cublasLtMatmulAlgo_t& algorithm) const;

  /// The scratch is at a multiple of 256 bytes.
  cublasStatus_t queue(const ProductBuffers& buffers, const cublasLtMatmulAlgo_t& algorithm,
                       std::size_t workspace_bytes, cudaStream_t stream) const;

 private:
  template <typename T>
  using Handle = std::unique_ptr<T, cublasStatus_t (*)(T*)>;
  using Layout = Handle<cublasLtMatrixLayoutOpaque_t>;

  static Layout layout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                       std::int64_t batch);

  ProductSpec spec_;
  /// Addresses of bias and scales are part of the operation.
  void set_addresses(const ProductBuffers& buffers) const;

  mutable std::mutex addresses_;
  Handle<cublasLtMatmulDescOpaque_t> operation_;
  Layout first_, second_, result_;  // of our b, our a, and the result, which the addend is like
};

}  // namespace bessemer::kernels::cuda

// Runs of a product on memory of its own, to time its algorithms. Only at load: it allocates.
#pragma once

#include <memory>

#include "kernels/cuda/driver/cublas_lt.h"

namespace bessemer::kernels::cuda {

class ProductTrial {
 public:
  /// Null where the device has not the memory.
  static std::unique_ptr<const ProductTrial> make(const ProductSpec& spec,
                                                  std::size_t workspace_bytes);
  ProductTrial(const ProductTrial&) = delete;
  ProductTrial& operator=(const ProductTrial&) = delete;
  ~ProductTrial();

  /// Of one run; infinity where the algorithm does not do it after all.
  double seconds(const CublasCall& call, const cublasLtMatmulAlgo_t& algorithm) const;

  /// Of moving as many bytes as a has, as a kernel does that reads it.
  double seconds_of_a() const;

  /// Once; returns when it is done.
  void run(const CublasCall& call, const cublasLtMatmulAlgo_t& algorithm) const;

 private:
  ProductTrial(void* memory, const ProductBuffers& buffers, std::size_t a_bytes,
               std::size_t workspace_bytes);

  template <typename Queue>
  double best_seconds(const Queue& queue) const;
  template <typename Queue>
  double seconds_of(const Queue& queue, int runs) const;

  void* memory_;
  ProductBuffers buffers_;
  std::size_t a_bytes_, workspace_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace bessemer::kernels::cuda

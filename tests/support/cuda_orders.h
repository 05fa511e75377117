// Runs a CUDA kernel with the null device's threads in one order and in the other: a kernel whose
// barriers are where they must be gives the same bits.
#pragma once

#include <gtest/gtest.h>

#include "support/kernel_runner.h"
#ifndef BESSEMER_CUDA
#include "kernels/cuda/simt.cuh"
#endif

namespace bessemer::testing {

inline KernelRun run_in_both_orders(PrepareFn prepare, const Operands& operands,
                                    const std::vector<TensorType>& result_types,
                                    const Attributes& attributes = {},
                                    const std::vector<std::pair<int, int>>& share = {}) {
  KernelRun run = run_cuda_kernel(prepare, operands, result_types, attributes, share);
#ifndef BESSEMER_CUDA
  namespace null = kernels::cuda::null;
  null::set_thread_order(null::ThreadOrder::backward);
  const KernelRun other = run_cuda_kernel(prepare, operands, result_types, attributes, share);
  null::set_thread_order(null::ThreadOrder::forward);
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    EXPECT_TRUE(same_bits(other.results[r], run.results[r]))
        << "result " << r << " depends on the order of threads";
  }
#endif
  return run;
}

}  // namespace bessemer::testing

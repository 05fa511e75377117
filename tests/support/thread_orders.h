// CUDA kernels in every order of threads: what they give must not depend on it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/simt.cuh"
#include "support/kernel_runner.h"

namespace bessemer::testing {

/// Calls body() once for each order in which the null device may run the threads of a block; once
/// on a real device.
template <typename Body>
void in_each_thread_order(const Body& body) {
#ifdef BESSEMER_CUDA
  body();
#else
  namespace null = kernels::cuda::null;
  for (const null::ThreadOrder order : {null::ThreadOrder::forward, null::ThreadOrder::backward}) {
    SCOPED_TRACE(order == null::ThreadOrder::forward ? "threads forward" : "threads backward");
    null::set_thread_order(order);
    body();
  }
  null::set_thread_order(null::ThreadOrder::forward);
#endif
}

/// run_cuda_kernel in each order, which must give the same bits.
inline KernelRun run_in_each_thread_order(PrepareFn prepare, const Operands& operands,
                                          const std::vector<TensorType>& results,
                                          const Attributes& attributes = {}) {
  std::optional<KernelRun> first;
  in_each_thread_order([&] {
    KernelRun run = run_cuda_kernel(prepare, operands, results, attributes);
    if (!first) {
      first = std::move(run);
      return;
    }
    for (std::size_t r = 0; r < run.results.size(); ++r) {
      EXPECT_TRUE(same_bits(run.results[r], first->results[r])) << "result " << r;
    }
  });
  return std::move(*first);
}

/// A use of a kernel whose results must have the bits of the reference's.
struct ExactCase {
  PrepareFn prepare, reference;
  Operands operands;
  std::vector<TensorType> results;
  Attributes attributes;
  std::vector<std::pair<int, int>> share;
};

inline void expect_same_bits(const ExactCase& c, const std::string& what) {
  const KernelRun expected = run_kernel(c.reference, c.operands, c.results, c.attributes);
  ASSERT_FALSE(expected.declined) << what << ": " << *expected.declined;
  in_each_thread_order([&] {
    const KernelRun run = run_cuda_kernel(c.prepare, c.operands, c.results, c.attributes, c.share);
    ASSERT_FALSE(run.declined) << what << ": " << *run.declined;
    for (std::size_t i = 0; i < c.results.size(); ++i) {
      EXPECT_TRUE(same_bits(run.results[i], expected.results[i])) << what << ", result " << i;
    }
  });
}

}  // namespace bessemer::testing

// Holds a CUDA kernel against the reference in every order of threads.
#pragma once

#include <optional>
#include <string>

#include "support/kernel_sweep.h"
#include "support/thread_orders.h"

namespace bessemer::testing {

/// Expects the kernel to agree with the reference, and to give the same bits in each order.
inline void expect_cuda_agreement(const SweepCase& c, const std::string& what) {
  const KernelRun expected = run_kernel(c.reference, c.operands, c.results, c.attributes);
  ASSERT_FALSE(expected.declined) << what << ": " << *expected.declined;
  std::optional<KernelRun> first;
  in_each_thread_order([&] {
    KernelRun run = run_cuda_kernel(c.kernel, c.operands, c.results, c.attributes, c.share);
    ASSERT_FALSE(run.declined) << what << ": " << *run.declined;
    for (std::size_t r = 0; r < c.results.size(); ++r) {
      const double allowed = c.tolerance_factor * rounding_tolerance(c.results[r].dtype);
      EXPECT_LE(relative_difference(run.results[r], expected.results[r]), allowed)
          << what << ", result " << r;
      if (first) {
        EXPECT_TRUE(same_bits(run.results[r], first->results[r])) << what << ", result " << r;
      }
    }
    if (!first) first = std::move(run);
  });
}

}  // namespace bessemer::testing

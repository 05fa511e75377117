// Holds a fast kernel against the reference over instruction sets, alignments and thread counts.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <string>
#include <vector>

#include "base/parallel.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {

/// The instruction sets kernels are compiled for (src/kernels/cpu/simd.h) and this machine has.
inline std::vector<std::int64_t> simd_targets() {
  std::vector<std::int64_t> targets;
  for (const std::int64_t target : {HWY_SCALAR, HWY_AVX2, HWY_AVX3}) {
    if (target == HWY_SCALAR || (hwy::SupportedTargets() & target) != 0) targets.push_back(target);
  }
  return targets;
}

/// Kernels dispatch to `target` while this lives.
class WithSimdTarget {
 public:
  explicit WithSimdTarget(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
  }
  WithSimdTarget(const WithSimdTarget&) = delete;
  WithSimdTarget& operator=(const WithSimdTarget&) = delete;
  ~WithSimdTarget() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
};

class WithThreads {
 public:
  explicit WithThreads(int count) : before_(thread_count()) { set_thread_count(count); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;
  ~WithThreads() { set_thread_count(before_); }

 private:
  int before_;
};

inline Tensor misaligned(const Tensor& tensor, std::size_t by) {
  Tensor moved(tensor.type(), by);
  std::memcpy(moved.data(), tensor.data(), tensor.type().bytes());
  return moved;
}

/// The most two right kernels may differ by where the result has this dtype: rounding.
inline double rounding_tolerance(DType dtype) {
  switch (dtype) {
    case DType::fp32: return 1e-6;
    case DType::bf16: return 0x1p-8;
    default: return 0;
  }
}

struct SweepCase {
  PrepareFn kernel;
  PrepareFn reference;
  Operands operands;
  std::vector<TensorType> results;
  Attributes attributes = {};
  std::vector<std::pair<int, int>> share = {};  // (result, operand)
  double tolerance_factor = 1;                  // times rounding_tolerance
};

/// Expects the kernel to agree with the reference on every instruction set, aligned or not, and to
/// give the same bits for every thread count.
inline void expect_agreement(const SweepCase& c, const std::string& what) {
  const KernelRun expected = run_kernel(c.reference, c.operands, c.results, c.attributes);
  ASSERT_FALSE(expected.declined) << what << ": " << *expected.declined;
  for (const std::int64_t target : simd_targets()) {
    const WithSimdTarget simd(target);
    for (const std::size_t misalign : {0, 3}) {
      Operands moved;
      for (const auto& operand : c.operands) {
        moved.push_back(operand ? std::optional(misaligned(*operand, misalign)) : std::nullopt);
      }
      const std::string where =
          what + " on " + hwy::TargetName(target) + ", misaligned by " + std::to_string(misalign);
      std::optional<KernelRun> first;
      for (const int threads : {1, 3}) {
        const WithThreads team(threads);
        KernelRun run = run_kernel(c.kernel, moved, c.results, c.attributes, misalign, c.share);
        ASSERT_FALSE(run.declined) << where << ": " << *run.declined;
        for (std::size_t r = 0; r < c.results.size(); ++r) {
          const double allowed = c.tolerance_factor * rounding_tolerance(c.results[r].dtype);
          EXPECT_LE(relative_difference(run.results[r], expected.results[r]), allowed)
              << where << ", result " << r;
          if (first) {
            EXPECT_TRUE(same_bits(run.results[r], first->results[r]))
                << where << ", result " << r << ": " << threads << " threads";
          }
        }
        if (!first) first = std::move(run);
      }
    }
    if (::testing::Test::HasFailure()) return;
  }
}

inline const std::vector<DType>& fast_dtypes() {
  static const std::vector<DType> dtypes{DType::fp32, DType::bf16};
  return dtypes;
}

}  // namespace bessemer::testing

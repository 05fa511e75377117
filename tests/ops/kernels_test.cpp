// Every candidate of every op against the reference, over the table of cases and the dtypes.
#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "ops/cases.h"

namespace bessemer::testing {
namespace {

constexpr DType kDTypes[] = {DType::fp64, DType::fp32, DType::bf16, DType::fp16};

// How far a kernel that computes in S and rounds once may be from one that computes in fp64, next
// to the largest element. The 16-bit bounds allow for one rounding of an intermediate matrix, as
// tiled attention needs.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::fp64: return 1e-12;
    case DType::fp32: return 2e-5;
    case DType::bf16: return 1.6e-2;
    case DType::fp16: return 2e-3;
    default: return 0;
  }
}

void expect_close(const std::vector<Tensor>& results, const std::vector<Tensor>& expected,
                  DType dtype) {
  ASSERT_EQ(results.size(), expected.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    const double allowed = std::max(tolerance(dtype), tolerance(expected[i].type().dtype));
    EXPECT_LE(relative_difference(results[i], expected[i]), allowed) << "result " << i;
  }
}

/// To bf16, where the op has operands of another dtype.
bool rounds_operands(const kernels::KernelCandidate& candidate) {
  return candidate.name == "cuda.scaled_matmul_dequantized";
}

/// Of the table of candidates, those of one backend.
class Candidates : public ::testing::TestWithParam<kernels::Backend> {
 protected:
  void SetUp() override {
    const bool needs_device = GetParam() == kernels::Backend::cuda;
    if (needs_device && cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
  }

  static std::vector<kernels::KernelCandidate> of(const ops::OpDefinition& op) {
    std::vector<kernels::KernelCandidate> candidates;
    for (const auto& candidate : op.candidates) {
      if (candidate.backend == GetParam()) candidates.push_back(candidate);
    }
    return candidates;
  }
};

TEST_P(Candidates, AgreeWithTheReference) {
  std::map<std::string_view, int> accepted;
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    const auto candidates = of(op);
    if (candidates.empty()) continue;
    for (const DType dtype : kDTypes) {
      const Operands operands = use.operands(dtype);
      const auto expected = run_reference(use.op, operands, use.attributes);
      for (const auto& candidate : candidates) {
        SCOPED_TRACE(use.describe(dtype) + " by " + std::string(candidate.name));
        const KernelRun run = run_candidate(op, candidate, operands, use.attributes);
        accepted[candidate.name] += run.declined ? 0 : 1;
        if (run.declined) {
          EXPECT_FALSE(run.declined->empty()) << "a refusal gives its reason";
        } else {
          expect_close(run.results, expected, rounds_operands(candidate) ? DType::bf16 : dtype);
        }
      }
    }
  }
  for (const auto& [name, count] : accepted) {
    EXPECT_GT(count, 0) << name << " declines every case";
  }
}

// Whatever the op says may share a buffer gives the same bits when it does.
TEST_P(Candidates, AreRightInPlace) {
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    if (op.in_place.empty()) continue;
    for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
      const Operands operands = use.operands(dtype);
      for (const auto& candidate : of(op)) {
        const KernelRun apart = run_candidate(op, candidate, operands, use.attributes);
        if (apart.declined) continue;
        for (const auto& [operand, result] : op.in_place) {
          const auto o = static_cast<std::size_t>(operand), r = static_cast<std::size_t>(result);
          if (o >= operands.size() || !operands[o]) continue;
          if (operands[o]->type() != apart.results[r].type()) continue;
          SCOPED_TRACE(use.describe(dtype) + " by " + std::string(candidate.name));
          const KernelRun shared =
              run_candidate(op, candidate, operands, use.attributes, {{result, operand}});
          for (std::size_t i = 0; i < apart.results.size(); ++i) {
            EXPECT_TRUE(same_bits(shared.results[i], apart.results[i]))
                << "result " << i << " with operand " << operand << " as result " << result;
          }
        }
      }
    }
  }
}

// The same bits each time, whatever ran before: no sum's order may depend on timing.
class CudaCandidates : public Candidates {};
TEST_P(CudaCandidates, RepeatThemselves) {
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      const Operands operands = use.operands(dtype);
      for (const auto& candidate : of(op)) {
        const KernelRun first = run_candidate(op, candidate, operands, use.attributes);
        if (first.declined) continue;
        SCOPED_TRACE(use.describe(dtype) + " by " + std::string(candidate.name));
        const KernelRun second = run_candidate(op, candidate, operands, use.attributes);
        for (std::size_t i = 0; i < first.results.size(); ++i) {
          EXPECT_TRUE(same_bits(first.results[i], second.results[i])) << "result " << i;
        }
      }
    }
  }
}

std::string backend_name(const ::testing::TestParamInfo<kernels::Backend>& backend) {
  return std::string(name_of(backend.param));
}
INSTANTIATE_TEST_SUITE_P(OfBackend, Candidates,
                         ::testing::Values(kernels::Backend::cpu, kernels::Backend::cuda),
                         backend_name);
INSTANTIATE_TEST_SUITE_P(OfBackend, CudaCandidates, ::testing::Values(kernels::Backend::cuda),
                         backend_name);

}  // namespace
}  // namespace bessemer::testing

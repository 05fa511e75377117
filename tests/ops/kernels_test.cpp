// Every candidate of every op against the reference, over the table of cases and the dtypes.
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
    default: return 2e-3;
  }
}

void expect_close(const std::vector<Tensor>& results, const std::vector<Tensor>& expected,
                  DType dtype) {
  ASSERT_EQ(results.size(), expected.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_LE(relative_difference(results[i], expected[i]), tolerance(dtype)) << "result " << i;
  }
}

TEST(Candidates, AgreeWithTheReference) {
  std::map<std::string_view, int> accepted;
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    for (const DType dtype : kDTypes) {
      const Operands operands = use.operands(dtype);
      const auto expected = run_reference(use.op, operands, use.attributes);
      for (const auto& candidate : op.candidates) {
        SCOPED_TRACE(use.describe(dtype) + " by " + std::string(candidate.name));
        const KernelRun run = run_candidate(op, candidate, operands, use.attributes);
        accepted[candidate.name] += run.declined ? 0 : 1;
        if (run.declined) {
          EXPECT_FALSE(run.declined->empty()) << "a refusal gives its reason";
        } else {
          expect_close(run.results, expected, dtype);
        }
      }
    }
  }
  for (const auto& [name, count] : accepted) {
    EXPECT_GT(count, 0) << name << " declines every case";
  }
}

// Whatever the op says may share a buffer gives the same bits when it does.
TEST(Candidates, AreRightInPlace) {
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
      const Operands operands = use.operands(dtype);
      for (const auto& candidate : op.candidates) {
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

}  // namespace
}  // namespace bessemer::testing

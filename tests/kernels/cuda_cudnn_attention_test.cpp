// Attention through cuDNN: what it declines, and, where there is a device, the reference's numbers
// and the same bits twice.
#include "kernels/cuda/cudnn_attention.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/kernel_runner.h"
#include "support/tensor.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;

struct Case {
  std::int64_t batch, tokens, heads, key_heads, head_size;
  bool causal = true;
  std::int64_t window = 0;

  Attributes attributes() const {
    return {{"scale", 1 / std::sqrt(static_cast<double>(head_size))},
            {"causal", causal},
            {"window", window},
            {"dropout", 0.0}};
  }
  TensorType queries(DType dtype = DType::bf16) const {
    return {dtype, {batch, tokens, heads, head_size}};
  }
  TensorType keys(DType dtype = DType::bf16) const {
    return {dtype, {batch, tokens, key_heads, head_size}};
  }
  std::vector<TensorType> results() const {
    return {queries(), {DType::fp32, {batch, heads, tokens}}};
  }
  std::string text() const {
    return fmt::format("B={} T={} H={} K={} D={} causal={} window={}", batch, tokens, heads,
                       key_heads, head_size, causal, window);
  }
};

std::optional<std::string> refusal(const Case& c, DType dtype, double dropout, bool visibility) {
  std::vector<std::optional<TensorType>> operands{c.queries(dtype), c.keys(dtype), c.keys(dtype)};
  operands.push_back(visibility ? std::optional(TensorType{DType::int32, {c.batch, c.tokens, 2}})
                                : std::nullopt);
  operands.push_back(TensorType{DType::int64, {3}});
  Attributes attributes{{"scale", 1.0}, {"causal", c.causal}, {"dropout", dropout}};
  const std::vector<TensorType> results{c.queries(dtype), c.results()[1]};
  const auto prepared =
      cuda::cudnn_attention({operands, results, attributes, kernels::Machine::detect()});
  const auto* declined = std::get_if<kernels::Declined>(&prepared);
  return declined == nullptr ? std::nullopt : std::optional(declined->reason);
}

// Preparing needs neither cuDNN nor a device.
TEST(CudaCudnnAttention, DeclinesWhatItDoesNotDo) {
  const Case plain{1, 128, 2, 2, 64};
  for (const auto& reason :
       {refusal(plain, DType::fp32, 0, false), refusal(plain, DType::bf16, 0.1, false),
        refusal(plain, DType::bf16, 0, true), refusal({1, 100, 2, 2, 64}, DType::bf16, 0, false),
        refusal({1, 128, 2, 2, 32}, DType::bf16, 0, false),
        refusal({1, 128, 2, 2, 68}, DType::bf16, 0, false)}) {
    ASSERT_TRUE(reason.has_value());
    EXPECT_FALSE(reason->empty());
  }
#ifndef BESSEMER_CUDA
  EXPECT_TRUE(refusal(plain, DType::bf16, 0, false).has_value());
#endif
}

#ifdef BESSEMER_CUDA
class CudaCudnnAttentionTest : public CudaTest {};

constexpr double kTolerance = 1.6e-2;  // of bf16, with roundings of the weights between products

KernelRun expect_agreement(PrepareFn prepare, PrepareFn reference, const Operands& operands,
                           const std::vector<TensorType>& results, const Attributes& attributes) {
  const KernelRun expected = run_kernel(reference, operands, results, attributes);
  const KernelRun first = run_cuda_kernel(prepare, operands, results, attributes);
  if (first.declined) {
    ADD_FAILURE() << *first.declined;
    return expected;
  }
  const KernelRun second = run_cuda_kernel(prepare, operands, results, attributes);
  for (std::size_t r = 0; r < results.size(); ++r) {
    EXPECT_LE(relative_difference(first.results[r], expected.results[r]), kTolerance) << r;
    EXPECT_TRUE(same_bits(first.results[r], second.results[r])) << r;
  }
  return expected;
}

TEST_F(CudaCudnnAttentionTest, AgreesWithTheReferenceAndWithItself) {
  for (const Case& c :
       {Case{2, 256, 4, 4, 64}, Case{1, 128, 4, 2, 64}, Case{1, 256, 2, 1, 128},
        Case{1, 256, 2, 2, 96}, Case{1, 128, 2, 2, 64, false}, Case{1, 384, 2, 2, 64, true, 100}}) {
    SCOPED_TRACE(c.text());
    Operands operands{normal(c.queries(), 1), normal(c.keys(), 2), normal(c.keys(), 3)};
    const KernelRun y = expect_agreement(cuda::cudnn_attention, kernels::reference::attention,
                                         operands, c.results(), c.attributes());
    operands.insert(operands.begin(), normal(c.queries(), 4));
    operands.insert(operands.end(), {y.results[0], y.results[1]});
    expect_agreement(cuda::cudnn_attention_grad, kernels::reference::attention_grad, operands,
                     {c.queries(), c.keys(), c.keys()}, c.attributes());
  }
}
#endif

}  // namespace
}  // namespace bessemer::testing

// The amax of tensors taken where they are made.
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/fuse.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

// A norm, whose statistics something reads, an activation function's gradients, and what attention
// has made, or one of two gradients.
constexpr const char* kBefore = R"(graph step
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,32] "dy"
parameter %gain: fp32[32] "gain"
%rms_norm: bf16[2,16,32], %rms_norm_1: fp32[2,16] = rms_norm(%x, %gain) {epsilon=1e-05}
%amax: fp32[] = amax(%rms_norm)
%swiglu_grad: bf16[2,16,32], %swiglu_grad_1: bf16[2,16,32] = swiglu_grad(%dy, %x, %rms_norm)
%amax_1: fp32[] = amax(%swiglu_grad_1)
%amax_2: fp32[] = amax(%swiglu_grad)
%alone: bf16[2,16,32], %alone_1: bf16[2,16,32] = swiglu_grad(%x, %x, %dy)
%amax_3: fp32[] = amax(%alone)
%amax_4: fp32[] = amax(%x)
return "normal" %rms_norm
return "rstd" %rms_norm_1
return "of norm" %amax
return "gate" %swiglu_grad
return "of gate" %amax_2
return "of up" %amax_1
return "of one" %amax_3
return "other" %alone_1
return "of x" %amax_4
)";

constexpr const char* kAfter = R"(graph step
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,32] "dy"
parameter %gain: fp32[32] "gain"
%rms_norm: bf16[2,16,32], %rms_norm_1: fp32[2,16], %amax: fp32[] = rms_norm(%x, %gain) {epsilon=1e-05, measure=true}
%swiglu_grad: bf16[2,16,32], %swiglu_grad_1: bf16[2,16,32], %amax_2: fp32[], %amax_1: fp32[] = amax(%dy, %x, %rms_norm) {program="t0 = multiply x0 x2; t1 = silu_grad t0 x1; t2 = silu x1; t3 = multiply x0 t2; return t1 t3"}
%alone: bf16[2,16,32], %alone_1: bf16[2,16,32] = swiglu_grad(%x, %x, %dy)
%amax_3: fp32[] = amax(%alone)
%amax_4: fp32[] = amax(%x)
return "normal" %rms_norm
return "rstd" %rms_norm_1
return "of norm" %amax
return "gate" %swiglu_grad
return "of gate" %amax_2
return "of up" %amax_1
return "of one" %amax_3
return "other" %alone_1
return "of x" %amax_4
)";

TEST(FuseAmax, TakesThemWhereTensorsAreMade) {
  const ir::Graph before = ir::parse(kBefore);
  ASSERT_EQ(ir::print(before), kBefore) << "not in canonical form";
  const ir::Graph after = fuse_amax(before);
  ops::verify(after);
  EXPECT_EQ(ir::print(after), kAfter);
  const auto inputs = bessemer::testing::values_for(before, 7, 1);
  const auto expected = run_graph(before, inputs);
  for (const auto& [name, value] : run_graph(after, inputs)) {
    EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
  }
}

}  // namespace
}  // namespace bessemer::passes

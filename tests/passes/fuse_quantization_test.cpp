// Tensors quantized where they are made: which, and that the numbers stay.
#include "passes/fuse_quantization.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::NamedTensors;
using bessemer::testing::values_for;

// A norm, an activation function and its gradients.
constexpr const char* kBefore = R"(graph step
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,32] "dy"
parameter %gain: fp32[32] "gain"
optimizer %amax: fp32[4] "fp8.amax"
%rms_norm: bf16[2,16,32], %rms_norm_1: fp32[2,16] = rms_norm(%x, %gain) {epsilon=1e-05}   # norm
%q: fp8_e4m3[2,16,32], %q_1: fp32[], %q_2: fp8_e4m3[32,32] = quantize_fp8(%rms_norm, %amax) {assumed=64.0, block="tensor", format="e4m3", indices=[0], transposed=true}   # qkv
%swiglu: bf16[2,16,32] = swiglu(%x, %dy)   # mlp
%h: fp8_e4m3[2,16,32], %h_1: fp32[], %h_2: fp8_e4m3[32,32] = quantize_fp8(%swiglu, %amax) {assumed=64.0, block="tensor", format="e4m3", indices=[1], transposed=true}   # down
%swiglu_grad: bf16[2,16,32], %swiglu_grad_1: bf16[2,16,32] = swiglu_grad(%dy, %x, %dy)   # mlp
%reduce_sum: fp32[32] = reduce_sum(%swiglu_grad) {dims=[0,1], dtype="fp32"}   # gate
%scale: fp32[32] = scale(%reduce_sum) {factor=2.0}   # gate
%g: fp8_e5m2[2,16,32], %g_1: fp32[], %g_2: fp8_e5m2[32,32] = quantize_fp8(%swiglu_grad, %amax) {assumed=0.5, block="tensor", format="e5m2", indices=[2], transposed=true}   # gate
%u: fp8_e5m2[2,16,32], %u_1: fp32[], %u_2: fp8_e5m2[32,32] = quantize_fp8(%swiglu_grad_1, %amax) {assumed=0.5, block="tensor", format="e5m2", indices=[3], transposed=true}   # up
return "normal" %q_2
return "rstd" %rms_norm_1
return "h" %h
return "dgate" %g
return "dup" %u_2
return "bias" %scale
)";

// The gradients stay apart: one is summed and the other is not.
constexpr const char* kAfter = R"(graph step
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,32] "dy"
parameter %gain: fp32[32] "gain"
optimizer %amax: fp32[4] "fp8.amax"
%rms_norm_1: fp32[2,16] = norm_statistics(%x) {centred=false, epsilon=1e-05}   # norm
%column: fp32[2,16,1] = reshape(%rms_norm_1) {shape=[2,16,1]}   # norm
%q: fp8_e4m3[2,16,32], %q_1: fp32[], %q_2: fp8_e4m3[32,32] = quantize_fp8(%x, %column, %gain, %amax) {assumed=64.0, block="tensor", format="e4m3", indices=[0], program="t0 = multiply x0 x1; t1 = multiply t0 x2; return t1", transposed=true}   # qkv
%h: fp8_e4m3[2,16,32], %h_1: fp32[], %h_2: fp8_e4m3[32,32] = quantize_fp8(%x, %dy, %amax) {assumed=64.0, block="tensor", format="e4m3", indices=[1], program="t0 = silu x0; t1 = multiply t0 x1; return t1", transposed=true}   # down
%swiglu_grad: bf16[2,16,32], %swiglu_grad_1: bf16[2,16,32] = swiglu_grad(%dy, %x, %dy)   # mlp
%g: fp8_e5m2[2,16,32], %g_1: fp32[], %g_2: fp8_e5m2[32,32], %reduce_sum: fp32[32] = quantize_fp8(%swiglu_grad, %amax) {assumed=0.5, block="tensor", format="e5m2", indices=[2], sum=true, transposed=true}   # gate
%scale: fp32[32] = scale(%reduce_sum) {factor=2.0}   # gate
%u: fp8_e5m2[2,16,32], %u_1: fp32[], %u_2: fp8_e5m2[32,32] = quantize_fp8(%swiglu_grad_1, %amax) {assumed=0.5, block="tensor", format="e5m2", indices=[3], transposed=true}   # up
return "normal" %q_2
return "rstd" %rms_norm_1
return "h" %h
return "dgate" %g
return "dup" %u_2
return "bias" %scale
)";

std::string without_line_of(std::string text, const std::string& part) {
  const std::size_t at = text.find(part);
  const std::size_t begin = text.rfind('\n', at) + 1;
  return text.erase(begin, text.find('\n', at) + 1 - begin);
}

// The gradients are not summed.
std::string without_sum() {
  return without_line_of(without_line_of(without_line_of(kBefore, "= reduce_sum"), "= scale"),
                         "return \"bias\"");
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// With a program that returns `count` values.
int programs(const ir::Graph& graph, std::size_t count) {
  int found = 0;
  for (const ir::Node& node : graph.nodes()) {
    if (node.attributes.find("program") == nullptr) continue;
    found += node.attributes.integers("indices").size() == count ? 1 : 0;
  }
  return found;
}

void expect_same_numbers(const ir::Graph& before, const ir::Graph& after) {
  ops::verify(after);
  NamedTensors inputs = values_for(before, 7, 1);
  inputs.at("fp8.amax") = bessemer::testing::of({DType::fp32, {4}}, {4, 0, 0.5, 2});
  const NamedTensors expected = run_graph(before, inputs);
  for (const auto& [name, value] : run_graph(after, inputs)) {
    EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
  }
}

TEST(FuseQuantization, MakesProgramsOfWhatMakesTensors) {
  const ir::Graph before = ir::parse(kBefore);
  ASSERT_EQ(ir::print(before), kBefore) << "not in canonical form";
  const ir::Graph after = fuse_quantization(before);
  EXPECT_EQ(ir::print(after), kAfter);
  expect_same_numbers(before, after);
}

TEST(FuseQuantization, BringsBothGradientsIntoOneNode) {
  const ir::Graph before = ir::parse(without_sum());
  const ir::Graph after = fuse_quantization(before);
  EXPECT_EQ(programs(after, 1), 2);
  EXPECT_EQ(programs(after, 2), 1);
  expect_same_numbers(before, after);
}

TEST(FuseQuantization, KeepsWhatSomethingElseReads) {
  std::string text = without_sum();
  replace(text, "return \"dgate\" %g\n", "return \"dgate\" %g\nreturn \"also\" %swiglu_grad_1\n");
  const ir::Graph before = ir::parse(text);
  const ir::Graph after = fuse_quantization(before);
  EXPECT_EQ(programs(after, 2), 1);
  expect_same_numbers(before, after);
}

// What has its scale from its own amax cannot be quantized before all of it is there; nor is there
// a kernel without the transpose, or for parameters in bf16.
TEST(FuseQuantization, LeavesWhatHasNoKernel) {
  std::string current = without_sum();
  replace(current, "   # mlp\n%h: ", "   # mlp\n%own: fp32[] = amax(%swiglu)   # down\n%h: ");
  replace(
      current,
      "quantize_fp8(%swiglu, %amax) {assumed=64.0, block=\"tensor\", format=\"e4m3\", indices=[1],",
      "quantize_fp8(%swiglu, %own) {block=\"tensor\", format=\"e4m3\",");
  std::string straight = without_sum();
  replace(straight, ", %h_2: fp8_e4m3[32,32]", "");
  replace(straight, "indices=[1], transposed=true", "indices=[1]");
  for (const std::string& text : {current, straight}) {
    const ir::Graph after = fuse_quantization(ir::parse(text));
    EXPECT_EQ(programs(after, 1), 1) << "the norm alone\n" << ir::print(after);
    EXPECT_EQ(programs(after, 2), 1);
  }
  std::string small = without_sum();
  replace(small, "parameter %gain: fp32", "parameter %gain: bf16");
  EXPECT_EQ(programs(fuse_quantization(ir::parse(small)), 1), 1) << "the activation alone";
}

}  // namespace
}  // namespace bessemer::passes

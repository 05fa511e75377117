// Every pass: a text graph in, a text graph out, and both run to the same numbers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/add_optimizer.h"
#include "passes/differentiate.h"
#include "passes/fuse.h"
#include "passes/hoist_weights.h"
#include "passes/order.h"
#include "passes/set_precision.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::KernelChoice;
using bessemer::testing::NamedTensors;
using bessemer::testing::run_graph;

constexpr std::int64_t kVocabulary = 7;

ir::Graph accumulating(ir::Graph graph) {
  return differentiate(std::move(graph), GradientMode::accumulate);
}
ir::Graph overwriting(ir::Graph graph) {
  return differentiate(std::move(graph), GradientMode::overwrite);
}
ir::Graph to_bf16(ir::Graph graph) { return set_precision(std::move(graph), Recipe::bf16); }

struct PassCase {
  const char* name;
  ir::Graph (*pass)(ir::Graph graph);
  std::string before;
  std::string after;
  double tolerance;  // of the outputs that both have, in relative_difference; 0: every bit
  double reference_tolerance = tolerance;  // with the reference kernels
};

class Passes : public ::testing::TestWithParam<PassCase> {};

TEST_P(Passes, GiveThisGraphAndTheSameNumbers) {
  const PassCase& c = GetParam();
  const ir::Graph before = ir::parse(c.before);
  ASSERT_EQ(ir::print(before), c.before) << "not in canonical form";
  const ir::Graph after = c.pass(before);
  ops::verify(after);
  EXPECT_EQ(ir::print(after), c.after);
  const NamedTensors inputs = bessemer::testing::values_for(after, kVocabulary, 1);
  for (const KernelChoice choice : {KernelChoice::reference, KernelChoice::first_accepting}) {
    const bool reference = choice == KernelChoice::reference;
    const double tolerance = reference ? c.reference_tolerance : c.tolerance;
    const NamedTensors expected = run_graph(before, inputs, choice);
    const NamedTensors results = run_graph(after, inputs, choice);
    for (const auto& [name, value] : expected) {
      ASSERT_TRUE(results.contains(name)) << name;
      if (tolerance == 0) {
        EXPECT_TRUE(same_bits(results.at(name), value))
            << name << (reference ? " by the references" : " by the kernels of a plan");
      } else {
        EXPECT_LE(relative_difference(results.at(name), value), tolerance) << name;
      }
    }
  }
}

// A layer with a residual and the head.
const char* const kForward = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%s: fp32[4,5] = silu(%u)   # act
%r: fp32[4,5] = add(%u, %s)   # residual
%loss: fp32[], %lse: fp32[4] = linear_cross_entropy(%r, %h, %targets) {chunk=4}   # head
return "loss" %loss
)";

const char* const kOverwriting = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight: fp32[5,3] "gradient.up.weight"
gradient %up.bias: fp32[5] "gradient.up.bias"
gradient %head.weight: fp32[7,5] "gradient.head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%s: fp32[4,5] = silu(%u)   # act
%r: fp32[4,5] = add(%u, %s)   # residual
%loss: fp32[], %lse: fp32[4] = linear_cross_entropy(%r, %h, %targets) {chunk=4}   # head
%linear_cross_entropy_grad: fp32[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_grad(%loss_scale, %r, %h, %targets, %lse) {chunk=4}   # head.gradient
%silu_grad: fp32[4,5] = silu_grad(%linear_cross_entropy_grad, %u)   # act.gradient
%add: fp32[4,5] = add(%linear_cross_entropy_grad, %silu_grad)   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add, %x) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add) {dims=[0], dtype="fp32"}   # up.gradient
return "loss" %loss
write "gradient.up.weight" %matmul_1
write "gradient.up.bias" %reduce_sum
write "gradient.head.weight" %linear_cross_entropy_grad_1
)";

const char* const kAccumulating = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight: fp32[5,3] "gradient.up.weight"
gradient %up.bias: fp32[5] "gradient.up.bias"
gradient %head.weight: fp32[7,5] "gradient.head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%s: fp32[4,5] = silu(%u)   # act
%r: fp32[4,5] = add(%u, %s)   # residual
%loss: fp32[], %lse: fp32[4] = linear_cross_entropy(%r, %h, %targets) {chunk=4}   # head
%linear_cross_entropy_grad: fp32[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_grad(%loss_scale, %r, %h, %targets, %lse) {chunk=4}   # head.gradient
%silu_grad: fp32[4,5] = silu_grad(%linear_cross_entropy_grad, %u)   # act.gradient
%add: fp32[4,5] = add(%linear_cross_entropy_grad, %silu_grad)   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add, %x) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add) {dims=[0], dtype="fp32"}   # up.gradient
%add_1: fp32[5,3] = add(%up.weight, %matmul_1)   # up.weight
%add_2: fp32[5] = add(%up.bias, %reduce_sum)   # up.bias
%add_3: fp32[7,5] = add(%head.weight, %linear_cross_entropy_grad_1)   # head.weight
return "loss" %loss
write "gradient.up.weight" %add_1
write "gradient.up.bias" %add_2
write "gradient.head.weight" %add_3
)";

// One loss_scale, one set of operands: the head makes its logits once.
const char* const kHeadFused = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight: fp32[5,3] "gradient.up.weight"
gradient %up.bias: fp32[5] "gradient.up.bias"
gradient %head.weight: fp32[7,5] "gradient.head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%s: fp32[4,5] = silu(%u)   # act
%r: fp32[4,5] = add(%u, %s)   # residual
%loss: fp32[], %linear_cross_entropy_grad: fp32[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_train(%loss_scale, %r, %h, %targets) {chunk=4}   # head
%silu_grad: fp32[4,5] = silu_grad(%linear_cross_entropy_grad, %u)   # act.gradient
%add: fp32[4,5] = add(%linear_cross_entropy_grad, %silu_grad)   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add, %x) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add) {dims=[0], dtype="fp32"}   # up.gradient
%add_1: fp32[5,3] = add(%up.weight, %matmul_1)   # up.weight
%add_2: fp32[5] = add(%up.bias, %reduce_sum)   # up.bias
%add_3: fp32[7,5] = add(%head.weight, %linear_cross_entropy_grad_1)   # head.weight
return "loss" %loss
write "gradient.up.weight" %add_1
write "gradient.up.bias" %add_2
write "gradient.head.weight" %add_3
)";

// The sums with the old gradients are gone where the op can add.
const char* const kAddendsFused = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight: fp32[5,3] "gradient.up.weight"
gradient %up.bias: fp32[5] "gradient.up.bias"
gradient %head.weight: fp32[7,5] "gradient.head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%s: fp32[4,5] = silu(%u)   # act
%r: fp32[4,5] = add(%u, %s)   # residual
%loss: fp32[], %linear_cross_entropy_grad: fp32[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_train(%loss_scale, %r, %h, %targets, %head.weight) {chunk=4}   # head
%silu_grad: fp32[4,5] = silu_grad(%linear_cross_entropy_grad, %u)   # act.gradient
%add: fp32[4,5] = add(%linear_cross_entropy_grad, %silu_grad)   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add, %x, _, %up.weight) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add) {dims=[0], dtype="fp32"}   # up.gradient
%add_2: fp32[5] = add(%up.bias, %reduce_sum)   # up.bias
return "loss" %loss
write "gradient.up.weight" %matmul_1
write "gradient.up.bias" %add_2
write "gradient.head.weight" %linear_cross_entropy_grad_1
)";

const char* const kChainsFused = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %w: fp32[5,3] "up.weight"
parameter %b: fp32[5] "up.bias"
parameter %h: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight: fp32[5,3] "gradient.up.weight"
gradient %up.bias: fp32[5] "gradient.up.bias"
gradient %head.weight: fp32[7,5] "gradient.head.weight"
%u: fp32[4,5] = matmul(%x, %w, %b) {transpose_b=true}   # up
%r: fp32[4,5] = fused(%u) {program="t0 = silu x0; t1 = add x0 t0; return t1"}   # residual
%loss: fp32[], %linear_cross_entropy_grad: fp32[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_train(%loss_scale, %r, %h, %targets, %head.weight) {chunk=4}   # head
%add: fp32[4,5] = fused(%linear_cross_entropy_grad, %u) {program="t0 = silu_grad x0 x1; t1 = add x0 t0; return t1"}   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add, %x, _, %up.weight) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add) {dims=[0], dtype="fp32"}   # up.gradient
%add_2: fp32[5] = add(%up.bias, %reduce_sum)   # up.bias
return "loss" %loss
write "gradient.up.weight" %matmul_1
write "gradient.up.bias" %add_2
write "gradient.head.weight" %linear_cross_entropy_grad_1
)";

// Matrices and activations in bf16; sums, gradients of parameters and the loss in fp32.
const char* const kLowered = R"(graph forward
data %x: fp32[4,3] "x"
data %targets: int32[4] "targets"
parameter %up.weight: fp32[5,3] "up.weight"
parameter %up.bias: fp32[5] "up.bias"
parameter %head.weight: fp32[7,5] "head.weight"
data %loss_scale: fp32[] "loss_scale"
gradient %up.weight_1: fp32[5,3] "gradient.up.weight"
gradient %up.bias_1: fp32[5] "gradient.up.bias"
gradient %head.weight_1: fp32[7,5] "gradient.head.weight"
%cast: bf16[4,3] = cast(%x) {dtype="bf16"}   # up
%cast_1: bf16[5,3] = cast(%up.weight) {dtype="bf16"}   # up
%matmul: bf16[4,5] = matmul(%cast, %cast_1, %up.bias) {transpose_b=true}   # up
%silu: bf16[4,5] = silu(%matmul)   # act
%add: bf16[4,5] = add(%matmul, %silu)   # residual
%cast_2: bf16[7,5] = cast(%head.weight) {dtype="bf16"}   # head
%linear_cross_entropy: fp32[], %linear_cross_entropy_1: fp32[4] = linear_cross_entropy(%add, %cast_2, %targets) {chunk=4}   # head
%linear_cross_entropy_grad: bf16[4,5], %linear_cross_entropy_grad_1: fp32[7,5] = linear_cross_entropy_grad(%loss_scale, %add, %cast_2, %targets, %linear_cross_entropy_1) {chunk=4}   # head.gradient
%silu_grad: bf16[4,5] = silu_grad(%linear_cross_entropy_grad, %matmul)   # act.gradient
%add_1: bf16[4,5] = add(%linear_cross_entropy_grad, %silu_grad)   # act.gradient
%matmul_1: fp32[5,3] = matmul(%add_1, %cast) {dtype="fp32", transpose_a=true, transpose_b=false}   # up.gradient
%reduce_sum: fp32[5] = reduce_sum(%add_1) {dims=[0], dtype="fp32"}   # up.gradient
return "loss" %linear_cross_entropy
write "gradient.up.weight" %matmul_1
write "gradient.up.bias" %reduce_sum
write "gradient.head.weight" %linear_cross_entropy_grad_1
)";

const char* const kChain = R"(graph g
data %x: bf16[4,5] "x"
data %y: bf16[4,5] "y"
data %b: fp32[5] "b"
%s: bf16[4,5] = add(%x, %b)   # first
%t: bf16[4,5] = scale(%s) {factor=0.3}   # second
%u: bf16[4,5] = gelu(%t) {approximate="tanh"}   # third
%v: bf16[4,5] = multiply(%u, %y)   # fourth
%w: bf16[4,5] = gelu_grad(%v, %s) {approximate="none"}   # fifth
return "v" %v
return "w" %w
)";

const char* const kChainAfter = R"(graph g
data %x: bf16[4,5] "x"
data %y: bf16[4,5] "y"
data %b: fp32[5] "b"
%s: bf16[4,5] = add(%x, %b)   # first
%v: bf16[4,5] = fused(%s, %y) {program="t0 = scale x0 0.3; t1 = round_bf16 t0; t2 = gelu_tanh t1; t3 = round_bf16 t2; t4 = multiply t3 x1; return t4"}   # fourth
%w: bf16[4,5] = gelu_grad(%v, %s) {approximate="none"}   # fifth
return "v" %v
return "w" %w
)";

const char* const kKept = R"(graph g
data %x: fp32[4,5] "x"
data %b: fp32[5] "b"
%c: fp32[5] = silu(%b)
%d: fp32[5] = add(%c, %b)
%s: fp32[4,5] = add(%x, %d)
%t: fp32[4,5] = silu(%s)
%u: fp32[5] = reduce_sum(%t) {dims=[0]}
%v: fp32[5] = add(%u, %d)
return "v" %v
return "t" %t
)";

const char* const kKeptAfter = R"(graph g
data %x: fp32[4,5] "x"
data %b: fp32[5] "b"
%d: fp32[5] = fused(%b) {program="t0 = silu x0; t1 = add t0 x0; return t1"}
%t: fp32[4,5] = fused(%x, %d) {program="t0 = add x0 x1; t1 = silu t0; return t1"}
%u: fp32[5] = reduce_sum(%t) {dims=[0]}
%v: fp32[5] = add(%u, %d)
return "v" %v
return "t" %t
)";

const char* const kResidual = R"(graph g
data %x: fp32[4,5] "x"
data %r: fp32[4,5] "r"
parameter %w: fp32[5,5] "w"
%y: fp32[4,5] = matmul(%x, %w)   # product
%h: fp32[4,5] = add(%r, %y)   # residual
%z: fp32[4,5] = matmul(%h, %w)   # next
%s: fp32[4,5] = add(%z, %h)
%q: fp32[4,5] = add(%s, %r)   # to the addend's own addend
return "q" %q
)";

const char* const kResidualAfter = R"(graph g
data %x: fp32[4,5] "x"
data %r: fp32[4,5] "r"
parameter %w: fp32[5,5] "w"
%y: fp32[4,5] = matmul(%x, %w, _, %r)   # product
%z: fp32[4,5] = matmul(%y, %w, _, %y)   # next
%q: fp32[4,5] = add(%z, %r)   # to the addend's own addend
return "q" %q
)";

const char* const kRefused = R"(graph g
data %x: fp32[5,5] "x"
parameter %w: fp32[5,5] "w"
%y: fp32[5,5] = matmul(%x, %w)   # cannot wait for what is made from it
%z: fp32[5,5] = silu(%y)
%s: fp32[5,5] = add(%y, %z)
%p: fp32[5,5] = matmul(%x, %x)   # used twice
%q: fp32[5,5] = add(%p, %s)
return "q" %q
return "p" %p
)";

const char* const kDependent = R"(graph g
data %x: fp32[4,5] "x"
data %targets: int32[4] "targets"
data %loss_scale: fp32[] "loss_scale"
parameter %w: fp32[7,5] "w"
%loss: fp32[], %lse: fp32[4] = linear_cross_entropy(%x, %w, %targets) {chunk=4}
%d: fp32[] = multiply(%loss_scale, %loss)   # the gradient depends on the loss itself
%dx: fp32[4,5], %dw: fp32[7,5] = linear_cross_entropy_grad(%d, %x, %w, %targets, %lse) {chunk=4}
return "loss" %loss
return "dx" %dx
return "dw" %dw
)";

const char* const kOrdered = R"(graph g
data %x: fp32[64] "x"
data %y: fp32[8,64] "y"
%a: fp32[8,64] = broadcast(%x) {dims=[0], shape=[8,64]}
%b: fp32[8,64] = broadcast(%x) {dims=[0], shape=[8,64]}
%s: fp32[64] = reduce_sum(%a) {dims=[0]}
%t: fp32[64] = reduce_sum(%b) {dims=[0]}
%u: fp32[64] = add(%s, %t)
return "u" %u
)";

const char* const kOrderedAfter = R"(graph g
data %x: fp32[64] "x"
data %y: fp32[8,64] "y"
%a: fp32[8,64] = broadcast(%x) {dims=[0], shape=[8,64]}
%s: fp32[64] = reduce_sum(%a) {dims=[0]}
%b: fp32[8,64] = broadcast(%x) {dims=[0], shape=[8,64]}
%t: fp32[64] = reduce_sum(%b) {dims=[0]}
%u: fp32[64] = add(%s, %t)
return "u" %u
)";

const char* const kActivations = R"(graph g
data %x: fp32[4,5] "x"
data %b: fp32[5] "b"
parameter %w: fp32[5,5] "w"
%u: fp32[4,5] = matmul(%x, %w, %b)
%g: fp32[4,5] = gelu(%u) {approximate="tanh"}
%p: fp32[4,5] = matmul(%g, %w)
%h: fp32[4,5] = gelu(%p) {approximate="none"}
%q: fp32[4,5] = matmul(%h, %w)   # read twice
%s: fp32[4,5] = silu(%q)
%t: fp32[4,5] = add(%s, %q)
%y: fp32[4,5] = matmul(%x, %w, _, %t)   # has an addend, which comes after the epilogue
%z: fp32[4,5] = silu(%y)
return "z" %z
)";

const char* const kActivationsAfter = R"(graph g
data %x: fp32[4,5] "x"
data %b: fp32[5] "b"
parameter %w: fp32[5,5] "w"
%u: fp32[4,5] = matmul(%x, %w, %b) {activation="gelu_tanh"}
%p: fp32[4,5] = matmul(%u, %w) {activation="gelu"}
%q: fp32[4,5] = matmul(%p, %w)   # read twice
%s: fp32[4,5] = silu(%q)
%t: fp32[4,5] = add(%s, %q)
%y: fp32[4,5] = matmul(%x, %w, _, %t)   # has an addend, which comes after the epilogue
%z: fp32[4,5] = silu(%y)
return "z" %z
)";

const char* const kActivationGradients = R"(graph g
data %dy: bf16[4,5] "dy"
data %u: bf16[4,6] "u"
weight %w: bf16[5,6] "w"
%dg: bf16[4,6] = matmul(%dy, %w)
%du: bf16[4,6] = gelu_grad(%dg, %u) {approximate="tanh"}
%dh: bf16[4,6] = matmul(%dy, %w)   # read twice
%dv: bf16[4,6] = gelu_grad(%dh, %u) {approximate="tanh"}
%s: bf16[4,6] = add(%dv, %dh)
%di: bf16[4,6] = matmul(%dy, %w)
%dt: bf16[4,6] = gelu_grad(%di, %u) {approximate="none"}   # products do the tanh form
return "du" %du
return "s" %s
return "dt" %dt
)";

const char* const kActivationGradientsAfter = R"(graph g
data %dy: bf16[4,5] "dy"
data %u: bf16[4,6] "u"
weight %w: bf16[5,6] "w"
%dg: bf16[4,6] = matmul(%dy, %w, _, _, %u) {activation="gelu_tanh_grad"}
%dh: bf16[4,6] = matmul(%dy, %w)   # read twice
%dv: bf16[4,6] = gelu_grad(%dh, %u) {approximate="tanh"}
%s: bf16[4,6] = add(%dv, %dh)
%di: bf16[4,6] = matmul(%dy, %w)
%dt: bf16[4,6] = gelu_grad(%di, %u) {approximate="none"}   # products do the tanh form
return "du" %dg
return "s" %s
return "dt" %dt
)";

const char* const kBiasGradients = R"(graph g
data %dy: bf16[2,3,8] "dy"
data %x: bf16[6,5] "x"
data %dz: bf16[6,8] "dz"
data %dq: bf16[6,6] "dq"
%dy2: bf16[6,8] = reshape(%dy) {shape=[6,8]}
%dw: fp32[8,5] = matmul(%dy2, %x) {dtype="fp32", transpose_a=true}   # up
%db: fp32[8] = reduce_sum(%dy) {dims=[0,1], dtype="fp32"}
%dc: fp32[8] = reduce_sum(%dy2) {dims=[0], dtype="fp32"}   # one takes one
%dt: fp32[6] = reduce_sum(%dy2) {dims=[1], dtype="fp32"}   # of columns
%ds: bf16[8] = reduce_sum(%dz) {dims=[0]}   # before its product, and rounded
%dv: fp32[8,5] = matmul(%dz, %x) {dtype="fp32", transpose_a=true}
%du: bf16[8] = reduce_sum(%dz) {dims=[0]}
%dr: fp32[6,5] = matmul(%dq, %x) {dtype="fp32", transpose_a=true}
%dn: fp32[6] = reduce_sum(%dq) {dims=[1], dtype="fp32"}   # of columns, as many
return "dw" %dw
return "db" %db
return "dc" %dc
return "dt" %dt
return "ds" %ds
return "dv" %dv
return "du" %du
return "dr" %dr
return "dn" %dn
)";

const char* const kBiasGradientsAfter = R"(graph g
data %dy: bf16[2,3,8] "dy"
data %x: bf16[6,5] "x"
data %dz: bf16[6,8] "dz"
data %dq: bf16[6,6] "dq"
%dy2: bf16[6,8] = reshape(%dy) {shape=[6,8]}
%dw: fp32[8,5], %db: fp32[8] = matmul(%dy2, %x) {dtype="fp32", row_sums=true, transpose_a=true}   # up
%dc: fp32[8] = reduce_sum(%dy2) {dims=[0], dtype="fp32"}   # one takes one
%dt: fp32[6] = reduce_sum(%dy2) {dims=[1], dtype="fp32"}   # of columns
%ds: bf16[8] = reduce_sum(%dz) {dims=[0]}   # before its product, and rounded
%dv: fp32[8,5] = matmul(%dz, %x) {dtype="fp32", transpose_a=true}
%du: bf16[8] = reduce_sum(%dz) {dims=[0]}
%dr: fp32[6,5] = matmul(%dq, %x) {dtype="fp32", transpose_a=true}
%dn: fp32[6] = reduce_sum(%dq) {dims=[1], dtype="fp32"}   # of columns, as many
return "dw" %dw
return "db" %db
return "dc" %dc
return "dt" %dt
return "ds" %ds
return "dv" %dv
return "du" %du
return "dr" %dr
return "dn" %dn
)";

// A sum fused into a product rounds once less than storing the product first: not bit-equal. A
// fused chain keeps every rounding of a plan's kernels; its reference keeps fp64 between the steps.
constexpr double kOneRounding = 1e-6, kBf16 = 2e-2;

INSTANTIATE_TEST_SUITE_P(
    All, Passes,
    ::testing::Values(
        PassCase{"differentiate_overwriting", overwriting, kForward, kOverwriting, 0},
        PassCase{"differentiate_accumulating", accumulating, kForward, kAccumulating, 0},
        PassCase{"set_precision", to_bf16, kOverwriting, kLowered, kBf16},
        PassCase{"fuse_loss", fuse_loss, kAccumulating, kHeadFused, kOneRounding},
        PassCase{"fuse_loss_not_where_the_gradient_needs_the_loss", fuse_loss, kDependent,
                 kDependent, 0},
        PassCase{"fuse_activations", fuse_activations, kActivations, kActivationsAfter,
                 kOneRounding},
        PassCase{"fuse_activation_gradients", fuse_activation_gradients, kActivationGradients,
                 kActivationGradientsAfter, kBf16},
        PassCase{"fuse_bias_gradients", fuse_bias_gradients, kBiasGradients, kBiasGradientsAfter,
                 kOneRounding},
        PassCase{"fuse_addends", fuse_addends, kHeadFused, kAddendsFused, kOneRounding},
        PassCase{"fuse_addends_of_residuals", fuse_addends, kResidual, kResidualAfter,
                 kOneRounding},
        PassCase{"fuse_addends_not_in_a_circle", fuse_addends, kRefused, kRefused, 0},
        PassCase{"fuse_elementwise", fuse_elementwise, kAddendsFused, kChainsFused, 0,
                 kOneRounding},
        PassCase{"fuse_elementwise_keeps_roundings", fuse_elementwise, kChain, kChainAfter, 0},
        PassCase{"fuse_elementwise_of_one_shape", fuse_elementwise, kKept, kKeptAfter, 0,
                 kOneRounding},
        PassCase{"order_frees_early", order, kOrdered, kOrderedAfter, 0}),
    [](const auto& test) { return test.param.name; });

TEST(SetPrecision, Fp32ChangesNothing) {
  const ir::Graph graph = ir::parse(kAccumulating);
  EXPECT_EQ(ir::print(set_precision(graph, Recipe::fp32)), kAccumulating);
}

// Linear layers and the head, forward and backward, and no other node; also once they are fused.
TEST(SetPrecision, Tf32IsOfProductsOfMatrices) {
  const ir::Graph graph = set_precision(ir::parse(kAccumulating), Recipe::tf32);
  for (const ir::Graph& g : {graph, fuse_addends(fuse_activations(fuse_loss(graph)))}) {
    int products = 0;
    for (const ir::Node& node : g.nodes()) {
      const bool multiplies = node.op == "matmul" || node.op.starts_with("linear_cross_entropy");
      products += multiplies ? 1 : 0;
      EXPECT_EQ(node.attributes.boolean("tf32", false), multiplies) << node.op;
    }
    EXPECT_GE(products, 3);
  }
}

// Of cast(w) and cast(2 w), whose last steps look alike; of a product with data nothing moves.
const char* const kWeights = R"(graph g
data %x: fp32[5,3] "x"
parameter %w: fp32[3,3] "w"
%a: bf16[3,3] = cast(%w) {dtype="bf16"}
%s: fp32[3,3] = scale(%w) {factor=2.0}
%b: bf16[3,3] = cast(%s) {dtype="bf16"}
%again: bf16[3,3] = cast(%w) {dtype="bf16"}
%c: bf16[5,3] = cast(%x) {dtype="bf16"}
%p: bf16[5,3] = matmul(%c, %a)
%q: bf16[5,3] = matmul(%p, %b)
%r: bf16[5,3] = matmul(%q, %again)
return "r" %r
)";

TEST(HoistWeights, MovesWhatDependsOnParametersAlone) {
  const ir::Graph before = ir::parse(kWeights);
  const Hoisted hoisted = hoist_weights(before);
  ops::verify(hoisted.graph);
  ops::verify(hoisted.refresh);
  EXPECT_EQ(ir::print(hoisted.graph), R"(graph g
data %x: fp32[5,3] "x"
parameter %w: fp32[3,3] "w"
weight %weight: bf16[3,3] "weight.w.bf16"
weight %weight_1: bf16[3,3] "weight.w.scale{factor=2.0}.bf16"
%c: bf16[5,3] = cast(%x) {dtype="bf16"}
%p: bf16[5,3] = matmul(%c, %weight)
%q: bf16[5,3] = matmul(%p, %weight_1)
%r: bf16[5,3] = matmul(%q, %weight)
return "r" %r
)");
  const NamedTensors inputs = bessemer::testing::values_for(before, kVocabulary, 1);
  NamedTensors with_weights = inputs;
  for (auto& [name, value] : run_graph(hoisted.refresh, [&] {
         NamedTensors all = inputs;
         for (const ir::Input& input : hoisted.refresh.inputs()) {
           all.emplace(input.name, bessemer::testing::Tensor(hoisted.refresh.type(input.value)));
         }
         return all;
       }())) {
    with_weights.insert_or_assign(name, value);
  }
  EXPECT_TRUE(
      same_bits(run_graph(hoisted.graph, with_weights).at("r"), run_graph(before, inputs).at("r")));
}

TEST(MergeRefresh, MakesEachWeightOnce) {
  const Hoisted one = hoist_weights(ir::parse(kWeights));
  const ir::Graph merged = merge_refresh(merge_refresh(ir::Graph("refresh"), one.refresh),
                                         hoist_weights(ir::parse(kWeights)).refresh);
  ops::verify(merged);
  EXPECT_EQ(merged.outputs().size(), 2u);
  EXPECT_EQ(merged.nodes().size(), one.refresh.nodes().size());
}

// Matrices are parameters in bf16, and no cast makes them; vectors and gradients stay fp32.
TEST(SetPrecision, ParametersInBf16NeedNoCopies) {
  const ir::Graph graph = set_precision(ir::parse(kOverwriting), {Recipe::bf16, DType::bf16});
  ops::verify(graph);
  const auto dtype = [&](const char* name) {
    return graph.type(graph.find_input(name)->value).dtype;
  };
  EXPECT_EQ(dtype("up.weight"), DType::bf16);
  EXPECT_EQ(dtype("head.weight"), DType::bf16);
  EXPECT_EQ(dtype("up.bias"), DType::fp32);
  EXPECT_EQ(dtype("gradient.up.weight"), DType::fp32);
  EXPECT_EQ(graph.type(graph.find_output("gradient.head.weight")->value).dtype, DType::fp32);
  EXPECT_TRUE(hoist_weights(graph).refresh.nodes().empty());
  EXPECT_THROW(set_precision(ir::parse(kOverwriting), {Recipe::tf32, DType::bf16}), Error);
}

// They are rounded at random: each draws at a place of its own. State is as wide as gradients.
TEST(AddOptimizer, RoundsParametersInBf16) {
  const ir::Graph update = add_optimizer(
      set_precision(ir::parse(kOverwriting), {Recipe::bf16, DType::bf16}), {.seed = 42});
  ops::verify(update);
  std::vector<std::int64_t> sites;
  for (const ir::Node& node : update.nodes()) {
    if (node.op != "adamw_update") continue;
    const bool rounds = update.type(node.operands[0]).dtype == DType::bf16;
    EXPECT_EQ(update.type(node.operands[2]).dtype, DType::fp32);
    EXPECT_EQ(node.attributes.find("seed") != nullptr, rounds);
    if (!rounds) continue;
    EXPECT_EQ(node.attributes.integer("seed"), 42);
    sites.push_back(node.attributes.integer("site"));
  }
  EXPECT_EQ(sites, (std::vector<std::int64_t>{1, 2}));
}

TEST(AddOptimizer, DecaysMatricesOnlyAndWritesAllState) {
  const ir::Graph update = add_optimizer(ir::parse(kOverwriting), {.gradient_clip = 0.5});
  ops::verify(update);
  std::vector<std::string> lines;
  for (const ir::Node& node : update.nodes()) lines.push_back(ir::print_node(update, node));
  const auto adamw = [](const char* results, const char* operands, const char* decay,
                        const char* label) {
    return fmt::format(
        "{} = adamw_update({}, %learning_rate, %count_step, %clip_coefficient) "
        "{{beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay={}}}   # {}",
        results, operands, decay, label);
  };
  const std::vector<std::string> expected{
      "%mean_loss: fp64[], %mean_loss_1: fp32[] = mean_loss(%step.loss, %loss_scale) "
      "{dtype=\"fp32\"}   # loss",
      "%global_norm: fp32[] = global_norm(%up.weight_1, %up.bias_1, %head.weight_1)   # clip",
      "%clip_coefficient: fp32[] = clip_coefficient(%global_norm, %mean_loss_1) {max_norm=0.5}   # "
      "clip",
      "%count_step: int64[] = count_step(%optimizer.step, %clip_coefficient)   # clip",
      adamw("%adamw_update: fp32[5,3], %adamw_update_1: fp32[5,3], %adamw_update_2: fp32[5,3]",
            "%up.weight, %up.weight_1, %up.weight_2, %up.weight_3", "0.1", "up.weight"),
      adamw("%adamw_update_3: fp32[5], %adamw_update_4: fp32[5], %adamw_update_5: fp32[5]",
            "%up.bias, %up.bias_1, %up.bias_2, %up.bias_3", "0.0", "up.bias"),
      adamw("%adamw_update_6: fp32[7,5], %adamw_update_7: fp32[7,5], %adamw_update_8: fp32[7,5]",
            "%head.weight, %head.weight_1, %head.weight_2, %head.weight_3", "0.1", "head.weight")};
  EXPECT_EQ(lines, expected);
  std::vector<std::string> writes;
  for (const ir::Output& output : update.outputs()) {
    if (output.kind == ir::Output::Kind::write) writes.push_back(output.name);
  }
  EXPECT_EQ(writes.size(), 1u + 3 * 3);
}

}  // namespace
}  // namespace bessemer::passes

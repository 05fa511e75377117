// Result types, and refusals that name the operand or attribute at fault.
#include <gtest/gtest.h>

#include "ops/op.h"

namespace bessemer::ops {
namespace {

using Types = std::vector<std::optional<TensorType>>;

TensorType fp32(Shape shape) { return {DType::fp32, std::move(shape)}; }
TensorType fp16(Shape shape) { return {DType::fp16, std::move(shape)}; }
TensorType bf16(Shape shape) { return {DType::bf16, std::move(shape)}; }
TensorType e4m3(Shape shape) { return {DType::fp8_e4m3, std::move(shape)}; }
TensorType e5m2(Shape shape) { return {DType::fp8_e5m2, std::move(shape)}; }
TensorType int32(Shape shape) { return {DType::int32, std::move(shape)}; }
TensorType int64(Shape shape) { return {DType::int64, std::move(shape)}; }

Attributes scaled(std::string block_a, std::string block_b) {
  return {{"block_a", std::move(block_a)},
          {"block_b", std::move(block_b)},
          {"dtype", std::string("bf16")}};
}

struct Good {
  std::string op;
  Types operands;
  Attributes attributes;
  std::vector<TensorType> results;
};

TEST(Infer, GivesTheDocumentedTypes) {
  const Attributes epsilon{{"epsilon", 1e-5}}, chunk{{"chunk", std::int64_t{4}}};
  const Good table[] = {
      {"matmul", {bf16({2, 6, 4}), bf16({4, 8})}, {}, {bf16({2, 6, 8})}},
      {"matmul",
       {bf16({2, 6, 4}), bf16({4, 8}), fp32({8}), fp32({2, 6, 8})},
       {{"dtype", std::string("fp32")}},
       {fp32({2, 6, 8})}},
      {"matmul",
       {fp32({3, 4, 6}), fp32({3, 8, 4})},
       {{"transpose_a", true}, {"transpose_b", true}},
       {fp32({3, 6, 8})}},
      {"matmul",
       {bf16({4, 6}), bf16({4, 8})},
       {{"transpose_a", true}, {"row_sums", true}},
       {bf16({6, 8}), fp32({6})}},
      {"add", {bf16({2, 6}), fp32({6})}, {}, {bf16({2, 6})}},
      {"reduce_sum",
       {bf16({2, 6, 4})},
       {{"dims", std::vector<std::int64_t>{0, 2}}, {"dtype", std::string("fp32")}},
       {fp32({6})}},
      {"embedding",
       {fp32({9, 4}), int32({2, 3})},
       {{"dtype", std::string("bf16")}},
       {bf16({2, 3, 4})}},
      {"embedding_grad",
       {bf16({2, 3, 4}), int32({2, 3})},
       {{"rows", std::int64_t{9}}},
       {fp32({9, 4})}},
      {"layer_norm",
       {bf16({2, 3, 4}), fp32({4})},
       epsilon,
       {bf16({2, 3, 4}), fp32({2, 3}), fp32({2, 3})}},
      {"rms_norm_grad",
       {bf16({2, 4}), bf16({2, 4}), bf16({4}), fp32({2})},
       {},
       {bf16({2, 4}), fp32({4})}},
      {"attention",
       {bf16({2, 3, 4, 8}), bf16({2, 5, 2, 8}), bf16({2, 5, 2, 8})},
       {{"scale", 1.0}},
       {bf16({2, 3, 4, 8}), fp32({2, 4, 3})}},
      {"linear_cross_entropy",
       {bf16({6, 4}), bf16({9, 4}), int32({6})},
       chunk,
       {fp32({}), fp32({6})}},
      {"linear_cross_entropy_train",
       {fp32({}), bf16({6, 4}), bf16({9, 4}), int32({6})},
       chunk,
       {fp32({}), bf16({6, 4}), fp32({9, 4})}},
      {"global_norm", {bf16({6, 4}), fp32({9})}, {}, {fp32({})}},
      {"quantize_fp8",
       {bf16({2, 128, 384})},
       {{"format", std::string("e4m3")},
        {"block", std::string("1x128")},
        {"transposed", true},
        {"measure", true}},
       {e4m3({2, 128, 384}), fp32({3, 256}), e4m3({384, 256}), fp32({2, 384}), fp32({6})}},
      {"quantize_fp8",
       {fp32({256, 640})},
       {{"format", std::string("e4m3")}, {"block", std::string("128x128")}, {"transposed", true}},
       {e4m3({256, 640}), fp32({2, 8}), e4m3({640, 256}), fp32({5, 4})}},
      {"quantize_fp8",
       {bf16({2, 6, 10}), fp32({})},
       {{"format", std::string("e4m3")}, {"block", std::string("tensor")}, {"transposed", true}},
       {e4m3({2, 6, 10}), fp32({}), e4m3({10, 12})}},
      {"quantize_fp8",
       {bf16({6, 10}), fp32({3})},
       {{"format", std::string("e4m3")},
        {"block", std::string("tensor")},
        {"indices", std::vector<std::int64_t>{2}},
        {"assumed", 1.0}},
       {e4m3({6, 10}), fp32({})}},
      {"quantize_fp8",
       {bf16({2, 16, 32}), fp32({2, 16, 1}), bf16({32}), fp32({3})},
       {{"format", std::string("e5m2")},
        {"block", std::string("tensor")},
        {"program", std::string("t0 = multiply x0 x1; t1 = add t0 x2; return t0 t1")},
        {"indices", std::vector<std::int64_t>{2, 0}},
        {"keep", true},
        {"sum", true},
        {"measure", true}},
       {bf16({2, 16, 32}), e5m2({2, 16, 32}), fp32({}), fp32({32}), bf16({2, 16, 32}),
        e5m2({2, 16, 32}), fp32({}), fp32({32}), fp32({1}), fp32({1})}},
      {"norm_statistics",
       {bf16({2, 3, 4})},
       {{"epsilon", 0.1}, {"centred", true}},
       {fp32({2, 3}), fp32({2, 3})}},
      {"collect_amax",
       {fp32({3}), fp32({1}), std::nullopt, fp32({9})},
       {{"size", std::int64_t{3}}},
       {fp32({3})}},
      {"amax_history", {fp32({16, 3}), fp32({3}), fp32({})}, {}, {fp32({16, 3}), fp32({3})}},
      {"clip_coefficient", {fp32({}), fp32({}), fp32({3})}, {{"max_norm", 1.0}}, {fp32({})}},
      {"scaled_matmul",
       {e4m3({2, 3, 256}), fp32({2, 6}), e4m3({128, 256}), fp32({1, 4}), fp32({128})},
       scaled("1x128", "128x128"),
       {bf16({2, 3, 128})}},
      {"fused",
       {bf16({2, 4}), fp32({4})},
       {{"program", std::string("t0 = add x0 x1; t1 = silu t0; return t0 t1")}},
       {bf16({2, 4}), bf16({2, 4})}},
  };
  for (const Good& good : table) {
    EXPECT_EQ(definition_of(good.op).infer({good.operands, good.attributes}), good.results)
        << good.op << " " << to_string(good.attributes);
  }
}

struct Bad {
  std::string op;
  Types operands;
  Attributes attributes;
  std::string message;
};

TEST(Infer, NamesTheOperandAtFault) {
  const Attributes epsilon{{"epsilon", 1e-5}}, scale{{"scale", 1.0}},
      chunk{{"chunk", std::int64_t{4}}};
  Attributes drops = scale;
  drops.set("dropout", 0.5);
  drops.set("site", std::int64_t{1});
  const TensorType q = fp32({2, 3, 4, 8});
  const Bad table[] = {
      {"matmul", {fp32({6, 4})}, {}, "operand 1 (b): is absent"},
      {"matmul", {fp32({6}), fp32({4, 8})}, {}, "operand 0 (a): expected at least 2 dimensions"},
      {"matmul", {fp32({6, 4}), bf16({4, 8})}, {}, "operand 1 (b): expected fp32"},
      {"matmul", {fp32({6, 4}), fp32({5, 8})}, {}, "operand 1 (b): expected 4 in dimension 0"},
      {"matmul",
       {fp32({6, 4}), fp32({4, 8})},
       {{"transpose_b", true}},
       "operand 1 (b): expected 4 in dimension 1"},
      {"matmul", {fp32({2, 6, 4}), fp32({3, 4, 8})}, {}, "operand 1 (b): expected two dimensions"},
      {"matmul",
       {fp32({2, 6, 4}), fp32({6, 8})},
       {{"transpose_a", true}},
       "operand 0 (a): transpose_a with a shared b"},
      {"matmul",
       {fp32({2, 6, 4}), fp32({4, 8})},
       {{"row_sums", true}},
       "operand 0 (a): row_sums expects two dimensions, found fp32[2,6,4]"},
      {"matmul",
       {fp32({6, 4}), fp32({4, 8}), fp32({7})},
       {},
       "operand 2 (bias): expected [8], found [7]"},
      {"matmul",
       {fp32({6, 4}), fp32({4, 8}), std::nullopt, fp32({8})},
       {},
       "operand 3 (addend): expected fp32[6,8]"},
      {"matmul",
       {fp32({6, 4}), fp32({4, 8})},
       {{"activation", std::string("relu")}},
       "attribute 'activation' is \"relu\""},
      {"add", {fp32({2, 6}), fp32({2})}, {}, "operand 1 (b): expected [2,6] or the end of it"},
      {"add", {fp32({2, 6}), bf16({6})}, {}, "operand 1 (b): expected fp32"},
      {"add", {fp32({2}), fp32({2}), fp32({2})}, {}, "expected at most 2 operands"},
      {"scale", {fp32({2})}, {}, "attribute 'factor' is missing"},
      {"cast", {fp32({2})}, {{"dtype", std::string("float")}}, "attribute 'dtype' is \"float\""},
      {"reshape", {fp32({6})}, {{"shape", Shape{4}}}, "operand 0 (x): expected 4 elements"},
      {"reshape", {fp32({6})}, {{"shape", Shape{-6}}}, "attribute 'shape'"},
      {"reshape",
       {fp32({0})},
       {{"shape", Shape{std::int64_t{1} << 62, 8, 0}}},
       "attribute 'shape'"},
      {"transpose", {fp32({2, 3})}, {{"permutation", Shape{0, 0}}}, "attribute 'permutation'"},
      {"slice",
       {fp32({4})},
       {{"dim", std::int64_t{0}}, {"begin", std::int64_t{2}}, {"end", std::int64_t{5}}},
       "operand 0 (x): expected dimension 0 to hold [2, 5)"},
      {"concat", {fp32({2, 3}), fp32({3, 3})}, {{"dim", std::int64_t{1}}}, "operand 1 (x1)"},
      {"concat", {fp32({2, 3})}, {{"dim", std::int64_t{2}}}, "attribute 'dim' is 2"},
      {"reduce_sum", {fp32({2, 3})}, {{"dims", Shape{1, 0}}}, "attribute 'dims'"},
      {"broadcast",
       {fp32({3})},
       {{"shape", Shape{2, 4}}, {"dims", Shape{0}}},
       "operand 0 (x): expected [4], found [3]"},
      {"embedding", {fp32({9, 4}), int64({2})}, {}, "operand 1 (ids): expected int32"},
      {"embedding_grad",
       {fp32({2, 4}), int32({3})},
       {{"rows", std::int64_t{9}}},
       "operand 1 (ids): expected int32[2]"},
      {"layer_norm",
       {fp32({2, 64}), fp32({32})},
       epsilon,
       "operand 1 (gain): expected [64], found [32]"},
      {"rms_norm_grad",
       {fp32({2, 4}), fp32({2, 4}), fp32({4}), fp32({3})},
       {},
       "operand 3 (rstd): expected fp32[2], found fp32[3]"},
      {"rope",
       {fp32({2, 3, 4, 7}), int32({2, 3})},
       {},
       "operand 0 (x): expected an even head size"},
      {"rope", {q, int32({3, 2})}, {}, "operand 1 (positions): expected int32[2,3]"},
      {"rope", {q, int32({2, 3})}, {{"scaling", std::string("llama3")}}, "factor"},
      {"gelu", {fp32({2})}, {{"approximate", std::string("erf")}}, "attribute 'approximate'"},
      {"swiglu", {fp32({2}), fp32({3})}, {}, "operand 1 (up): expected fp32[2], found fp32[3]"},
      {"dropout",
       {fp32({2}), int64({3})},
       {{"probability", 1.0}, {"site", std::int64_t{0}}},
       "attribute 'probability' is 1"},
      {"attention",
       {q, fp32({2, 5, 3, 8}), fp32({2, 5, 3, 8})},
       scale,
       "operand 1 (k): expected key heads that divide 4"},
      {"attention", {q, q, fp32({2, 4, 4, 8})}, scale, "operand 2 (v): expected fp32[2,3,4,8]"},
      {"attention",
       {q, q, q, int32({2, 3})},
       scale,
       "operand 3 (visibility): expected int32[2,3,2]"},
      {"attention", {q, q, q}, drops, "operand 4 (counter): is absent"},
      {"linear_cross_entropy",
       {fp32({6, 4}), fp32({9, 5}), int32({6})},
       chunk,
       "operand 1 (w): expected fp32[9,4], found fp32[9,5]"},
      {"linear_cross_entropy",
       {fp32({6, 4}), fp32({9, 4}), int32({6})},
       {{"chunk", std::int64_t{0}}},
       "attribute 'chunk' is 0"},
      {"global_norm", {fp32({2}), {{DType::fp64, {2}}}}, {}, "operand 1 (x1)"},
      {"add_all", {fp32({2}), fp32({2}), fp32({2})}, {}, "3 operands, expected two for each"},
      {"add_all",
       {fp32({2}), fp32({2}), fp32({2}), fp32({3})},
       {},
       "operand 3 (b1): expected fp32[2] as a1, found fp32[3]"},
      {"add_all", {int64({2}), int64({2})}, {}, "operand 0 (a0): expected a floating dtype"},
      {"adamw_update",
       {fp16({2}), fp32({2}), fp32({2}), fp32({2}), fp32({}), int64({}), fp32({})},
       {},
       "operand 0 (parameter): expected fp32, fp64 or bf16"},
      {"adamw_update",
       {bf16({2}), bf16({2}), fp32({2}), fp32({2}), fp32({}), int64({}), fp32({})},
       {},
       "operand 1 (gradient): expected fp32[2]"},
      {"adamw_update",
       {bf16({2}), fp32({2}), fp32({2}), fp32({2}), fp32({}), int64({}), fp32({})},
       {{"beta1", 0.9}, {"beta2", 0.9}, {"epsilon", 0.1}, {"weight_decay", 0.1}, {"site", 1}},
       "attribute 'seed'"},
      {"adamw_update_all",
       {fp32({}), int64({}), fp32({}), bf16({2}), fp32({2}), fp32({2}), fp32({2}), fp32({2}),
        fp32({2}), fp32({2}), fp32({2})},
       {{"beta1", 0.9},
        {"beta2", 0.9},
        {"epsilon", 0.1},
        {"weight_decay", 0.1},
        {"seed", 1},
        {"sites", std::vector<std::int64_t>{1, 2}},
        {"decays", std::vector<std::int64_t>{0, 0}},
        {"weights", std::vector<std::int64_t>{0, 0}}},
       "operand 7 (parameter 1): expected bf16 as the first one, found fp32[2]"},
      {"adamw_update",
       {fp32({2}), fp32({2}), fp32({2}), fp32({2}), fp32({}), int64({}), fp32({})},
       {{"beta1", 0.9},
        {"beta2", 0.9},
        {"epsilon", 0.1},
        {"weight_decay", 0.1},
        {"weight", std::string("int8")}},
       "attribute 'weight' is \"int8\", expected"},
      {"quantize_fp8",
       {fp32({4, 8})},
       {{"format", std::string("e4m3")}, {"block", std::string("tensor")}},
       "operand 1 (amax): is needed with block \"tensor\""},
      {"quantize_fp8",
       {fp32({4, 8}), fp32({3})},
       {{"format", std::string("e4m3")},
        {"block", std::string("tensor")},
        {"indices", std::vector<std::int64_t>{3}}},
       "operand 1 (amax): has no element 3, found fp32[3]"},
      {"quantize_fp8",
       {bf16({4, 16}), bf16({4})},
       {{"format", std::string("e4m3")},
        {"block", std::string("1x128")},
        {"program", std::string("t0 = add x0 x1; return t0")}},
       "operand 1 (x1): expected [4,16], the end of it, or one number a row, found [4]"},
      {"quantize_fp8",
       {bf16({4, 128}), bf16({4, 128})},
       {{"format", std::string("e4m3")},
        {"block", std::string("1x128")},
        {"program", std::string("t0 = add x0 x1; return t0 x1")}},
       "attribute 'indices' has 1 entries, expected 2"},
      {"collect_amax",
       {fp32({2}), fp32({})},
       {{"size", std::int64_t{3}}},
       "operand 0 (before): expected fp32[3], found fp32[2]"},
      {"collect_amax",
       {std::nullopt, fp32({}), fp32({})},
       {{"size", std::int64_t{1}}},
       "expected at most 2 operands, found 3"},
      {"amax_history",
       {fp32({16, 3}), fp32({2}), fp32({})},
       {},
       "operand 1 (collected): expected fp32[3], found fp32[2]"},
      {"quantize_fp8",
       {fp32({4, 120})},
       {{"format", std::string("e4m3")}, {"block", std::string("1x128")}},
       "operand 0 (x): expected multiples of 128 as columns, found fp32[4,120]"},
      {"quantize_fp8",
       {fp32({4, 128})},
       {{"format", std::string("e4m3")}, {"block", std::string("1x128")}, {"transposed", true}},
       "operand 0 (x): expected multiples of 128 as rows and columns"},
      {"quantize_fp8",
       {fp32({4, 128})},
       {{"format", std::string("e3m4")}, {"block", std::string("1x128")}},
       "attribute 'format' is \"e3m4\""},
      {"scaled_matmul",
       {e4m3({4, 128}), fp32({}), bf16({8, 128}), fp32({})},
       scaled("tensor", "tensor"),
       "operand 2 (b): expected fp8_e4m3 or fp8_e5m2, found bf16[8,128]"},
      {"scaled_matmul",
       {e4m3({4, 128}), fp32({4, 1}), e4m3({8, 128}), fp32({1, 8})},
       scaled("1x128", "1x128"),
       "operand 1 (scale_a): expected fp32[1,4], found fp32[4,1]"},
      {"scaled_matmul",
       {e4m3({4, 128}), fp32({}), e4m3({8, 256}), fp32({})},
       scaled("tensor", "tensor"),
       "operand 2 (b): expected [N, 128] to meet a"},
      {"scaled_matmul",
       {e4m3({4, 128}), fp32({}), e4m3({8, 128}), fp32({1, 8})},
       scaled("tensor", "1x128"),
       "expected \"tensor\" for both or for neither"},
      {"cache_write",
       {q, fp32({2, 1, 2, 8}), int32({2, 1})},
       {},
       "operand 1 (update): expected fp32[2,1,4,8]"},
      {"fused",
       {fp32({2}), fp32({3})},
       {{"program", std::string("t0 = add x0 x1; return t0")}},
       "operand 1 (x1)"},
      {"fused", {fp32({2})}, {{"program", std::string("t0 = add x0 x1; return t0")}}, "x1"},
  };
  for (const Bad& bad : table) {
    try {
      definition_of(bad.op).infer({bad.operands, bad.attributes});
      ADD_FAILURE() << bad.op << " accepted what it should refuse with: " << bad.message;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(bad.message), std::string::npos)
          << bad.op << " said: " << error.what() << "\nexpected: " << bad.message;
    }
  }
}

Work work_of(const std::string& op, Types operands, Attributes attributes) {
  const OpUse use{std::move(operands), std::move(attributes)};
  const OpDefinition& definition = definition_of(op);
  return definition.work(use, definition.infer(use));
}

TEST(Work, CountsProducts) {
  const Work product = work_of("matmul", {fp32({2, 6, 4}), fp32({8, 4})}, {{"transpose_b", true}});
  EXPECT_EQ(product.flops, 2.0 * 12 * 8 * 4);
  EXPECT_EQ(product.bytes_read, 4.0 * (48 + 32));
  EXPECT_EQ(product.bytes_written, 4.0 * 96);
  EXPECT_EQ(product.unit, Unit::product);
  const Attributes chunk{{"chunk", std::int64_t{3}}};
  const Work loss =
      work_of("linear_cross_entropy", {fp32({6, 4}), fp32({9, 4}), int32({6})}, chunk);
  EXPECT_EQ(loss.flops, 2.0 * 6 * 9 * 4);
  EXPECT_EQ(loss.bytes_read, 4.0 * (24 + 2 * 36 + 6)) << "w is read for each of two chunks";
}

TEST(Work, AttentionCountsOnlyVisiblePairs) {
  const TensorType q = fp32({2, 16, 4, 8}), k = fp32({2, 16, 2, 8});
  const double per_pair = 2 * 2 * 2.0 * 4 * 8;  // two products of 2 flops, B = 2, H = 4, D = 8
  const auto flops = [&](Attributes attributes) {
    attributes.set("scale", 1.0);
    return work_of("attention", {q, k, k}, std::move(attributes)).flops;
  };
  EXPECT_EQ(flops({}), per_pair * 256);
  EXPECT_EQ(flops({{"causal", true}}), per_pair * 136);
  EXPECT_EQ(flops({{"causal", true}, {"window", std::int64_t{1}}}), per_pair * 16);
  EXPECT_EQ(flops({{"causal", true}, {"window", std::int64_t{2}}}), per_pair * 31);
}

TEST(Work, MovesOnlyWhatIsTouched) {
  EXPECT_EQ(work_of("reshape", {fp32({6})}, {{"shape", Shape{2, 3}}}).bytes_read, 0);
  const Work lookup = work_of("embedding", {fp32({1000, 4}), int32({3})}, {});
  EXPECT_EQ(lookup.bytes_read, 4.0 * (3 * 4 + 3)) << "three rows and three ids";
  const Work part =
      work_of("slice", {fp32({100})},
              {{"dim", std::int64_t{0}}, {"begin", std::int64_t{10}}, {"end", std::int64_t{15}}});
  EXPECT_EQ(part.bytes_read, 20);
}

}  // namespace
}  // namespace bessemer::ops

#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;
using Integers = std::vector<std::int64_t>;

/// 0, 1, 2, ... in a dtype that holds them exactly.
Tensor counting(TensorType type) {
  Tensor tensor(std::move(type));
  for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, static_cast<double>(i));
  return tensor;
}

struct Case {
  const char* name;
  PrepareFn prepare;
  Shape from;
  Attributes attributes;
  Shape to;
  std::vector<double> expected;
};

TEST(ReferenceMovement, MovesElementsOfEveryDtype) {
  const Case table[] = {
      {"reshape", reference::reshape, {2, 3}, {}, {3, 2}, {0, 1, 2, 3, 4, 5}},
      {"transpose",
       reference::transpose,
       {2, 3},
       {{"permutation", Integers{1, 0}}},
       {3, 2},
       {0, 3, 1, 4, 2, 5}},
      // y[i, j, k] = x[j, k, i]: dimension i of y is dimension permutation[i] of x.
      {"cycle",
       reference::transpose,
       {1, 2, 3},
       {{"permutation", Integers{2, 0, 1}}},
       {3, 1, 2},
       {0, 3, 1, 4, 2, 5}},
      {"slice rows",
       reference::slice,
       {3, 2},
       {{"dim", std::int64_t{0}}, {"begin", std::int64_t{1}}, {"end", std::int64_t{3}}},
       {2, 2},
       {2, 3, 4, 5}},
      {"slice columns",
       reference::slice,
       {2, 3},
       {{"dim", std::int64_t{-1}}, {"begin", std::int64_t{1}}, {"end", std::int64_t{2}}},
       {2, 1},
       {1, 4}},
      {"pad columns",
       reference::pad,
       {2, 1},
       {{"dim", std::int64_t{1}}, {"before", std::int64_t{1}}, {"after", std::int64_t{2}}},
       {2, 4},
       {0, 0, 0, 0, 0, 1, 0, 0}},
      {"pad rows",
       reference::pad,
       {1, 2},
       {{"dim", std::int64_t{0}}, {"before", std::int64_t{0}}, {"after", std::int64_t{1}}},
       {2, 2},
       {0, 1, 0, 0}},
      {"broadcast outer",
       reference::broadcast,
       {2},
       {{"dims", Integers{0}}},
       {3, 2},
       {0, 1, 0, 1, 0, 1}},
      {"broadcast inner",
       reference::broadcast,
       {2},
       {{"dims", Integers{1}}},
       {2, 3},
       {0, 0, 0, 1, 1, 1}},
      {"broadcast both",
       reference::broadcast,
       {2},
       {{"dims", Integers{0, 2}}},
       {2, 2, 2},
       {0, 0, 1, 1, 0, 0, 1, 1}},
      {"sum rows", reference::reduce_sum, {2, 3}, {{"dims", Integers{0}}}, {3}, {3, 5, 7}},
      {"sum columns", reference::reduce_sum, {2, 3}, {{"dims", Integers{1}}}, {2}, {3, 12}},
      {"sum outer and inner",
       reference::reduce_sum,
       {2, 3, 2},
       {{"dims", Integers{0, -1}}},
       {3},
       {14, 22, 30}},
      {"sum all", reference::reduce_sum, {2, 3}, {{"dims", Integers{0, 1}}}, {}, {15}},
      {"sum nothing", reference::reduce_sum, {2}, {{"dims", Integers{}}}, {2}, {0, 1}},
  };
  for (const Case& c : table) {
    for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16, DType::fp16, DType::int8,
                              DType::int32, DType::int64}) {
      const Tensor x = counting({dtype, c.from});
      const Tensor y = run_kernel(c.prepare, {x}, {{dtype, c.to}}, c.attributes).results[0];
      EXPECT_TRUE(same_bits(y, of({dtype, c.to}, c.expected))) << c.name << " " << name_of(dtype);
    }
  }
}

TEST(ReferenceMovement, ConcatAlongEveryDimension) {
  const Tensor a = of(fp64({2, 1}), {1, 2}), b = of(fp64({2, 2}), {3, 4, 5, 6});
  const auto columns =
      run_kernel(reference::concat, {a, b}, {fp64({2, 3})}, {{"dim", std::int64_t{1}}});
  EXPECT_TRUE(same_bits(columns.results[0], of(fp64({2, 3}), {1, 3, 4, 2, 5, 6})));
  const auto rows =
      run_kernel(reference::concat, {b, b}, {fp64({4, 2})}, {{"dim", std::int64_t{0}}});
  EXPECT_TRUE(same_bits(rows.results[0], of(fp64({4, 2}), {3, 4, 5, 6, 3, 4, 5, 6})));
}

TEST(ReferenceMovement, FillGivesTheConstant) {
  for (const DType dtype : {DType::fp64, DType::bf16, DType::int32, DType::boolean}) {
    const TensorType type{dtype, {3}};
    const Tensor y = run_kernel(reference::fill, {}, {type}, {{"value", 1.0}}).results[0];
    EXPECT_TRUE(same_bits(y, of(type, {1, 1, 1}))) << name_of(dtype);
  }
}

TEST(ReferenceMovement, ReduceSumKeepsWhatTheOperandDtypeWouldLose) {
  Tensor x({DType::bf16, {1000}});
  for (std::int64_t i = 0; i < 1000; ++i) x.set(i, 1);
  const Attributes attributes = {{"dims", Integers{0}}};
  const auto y = run_kernel(reference::reduce_sum, {x}, {{DType::fp32, {}}}, attributes);
  EXPECT_EQ(y.results[0].get(0), 1000);
}

TEST(ReferenceMovement, CacheWriteReplacesRowsApartAndInPlace) {
  const TensorType type = fp64({2, 4, 1, 2});
  const Tensor cache = counting(type);
  const Tensor update = of(fp64({2, 2, 1, 2}), {-1, -2, -3, -4, -5, -6, -7, -8});
  const Tensor positions = of({DType::int32, {2, 2}}, {3, 0, 1, 4});  // 4 lies outside: left out
  const Tensor expected = of(type, {-3, -4, 2, 3, 4, 5, -1, -2, 8, 9, -5, -6, 12, 13, 14, 15});
  const Operands operands = {cache, update, positions};
  const auto apart = run_kernel(reference::cache_write, operands, {type});
  const auto shared = run_kernel(reference::cache_write, operands, {type}, {}, 0, {{0, 0}});
  EXPECT_TRUE(same_bits(apart.results[0], expected));
  EXPECT_TRUE(same_bits(shared.results[0], expected));
}

TEST(ReferenceEmbedding, LooksUpRowsAndIdsOutsideGiveZeros) {
  const Tensor table = of({DType::fp32, {3, 2}}, {1, 2, 3, 4, 5, 6});
  const Tensor ids = of({DType::int32, {2, 2}}, {2, 0, -1, 3});
  const TensorType type{DType::bf16, {2, 2, 2}};
  const auto y = run_kernel(reference::embedding, {table, ids}, {type}).results[0];
  EXPECT_TRUE(same_bits(y, of(type, {5, 6, 1, 2, 0, 0, 0, 0})));
}

TEST(ReferenceEmbedding, GradientAgreesWithDifferencesAndAddsToTheAddend) {
  const Tensor table = normal(fp64({4, 3}), 1);
  const Tensor ids = of({DType::int32, {5}}, {2, 0, 2, -1, 4});
  const Tensor dy = normal(fp64({5, 3}), 2), addend = normal(fp64({4, 3}), 3);
  const Forward forward{reference::embedding, {table, ids}, {dy.type()}};
  const Attributes attributes = {{"rows", std::int64_t{4}}};
  const auto plain =
      run_kernel(reference::embedding_grad, {dy, ids}, {table.type()}, attributes).results[0];
  EXPECT_LT(relative_difference(plain, numeric_gradient(forward, 0, dy)), kGradientTolerance);
  const auto added = run_kernel(reference::embedding_grad, {dy, ids, addend}, {table.type()},
                                attributes, 0, {{0, 2}})
                         .results[0];
  const auto sum = run_kernel(reference::add, {plain, addend}, {table.type()}).results[0];
  EXPECT_LT(relative_difference(added, sum), 1e-15);
}

}  // namespace
}  // namespace bessemer::kernels

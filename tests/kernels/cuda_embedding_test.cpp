#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/thread_orders.h"
#include "support/cuda_test.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace cuda = kernels::cuda;

constexpr DType kDTypes[] = {DType::fp32, DType::bf16};

struct Case {
  std::int64_t vocabulary, hidden;
  Shape ids;
};

/// A table of one row; widths that are not of whole packs, and those of models; no positions.
const std::vector<Case> kCases{{1, 1, {1}},     {11, 64, {3, 7}}, {9, 768, {2, 20}},
                               {40, 257, {30}}, {3, 1600, {2}},   {4, 8, {0}}};

Shape with(Shape shape, std::int64_t last) {
  shape.push_back(last);
  return shape;
}

/// Ids some of which lie outside the vocabulary, on both sides.
Tensor some_ids(const Case& k) { return integers({DType::int32, k.ids}, 7, -2, k.vocabulary + 2); }

// What is only moved and rounded, and what is added in order of position, has the CPU's bits.

class CudaEmbedding : public CudaTest {};

TEST_F(CudaEmbedding, HasTheBitsOfTheCpu) {
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      for (const Case& k : kCases) {
        const TensorType y{to, with(k.ids, k.hidden)};
        const Tensor table = normal({from, {k.vocabulary, k.hidden}}, 1);
        ExactCase c{cuda::embedding, cpu::embedding, {table, some_ids(k), std::nullopt}, {y}};
        expect_same_bits(c, "embedding " + to_string(table.type()));
        c.operands[2] = normal(y, 3);
        expect_same_bits(c, "embedding into " + to_string(table.type()));
        expect_same_bits(c, "embedding in place " + to_string(table.type()));
      }
    }
  }
}

void expect_same_sums(DType dtype, const Case& k, const Tensor& ids, std::int64_t first = 0) {
  const Tensor dy = normal({dtype, with(k.ids, k.hidden)}, 1);
  const TensorType sum{DType::fp32, {k.vocabulary, k.hidden}};
  ExactCase c{cuda::embedding_grad,
              cpu::embedding_grad,
              {dy, ids, std::nullopt},
              {sum},
              {{"rows", k.vocabulary}, {"first", first}}};
  expect_same_bits(c, "embedding_grad " + to_string(sum));
  c.operands[2] = normal(sum, 3);
  c.share = {{0, 2}};
  expect_same_bits(c, "embedding_grad in place " + to_string(sum));
}

TEST_F(CudaEmbedding, GradHasTheBitsOfTheCpu) {
  for (const DType dtype : kDTypes) {
    for (const Case& k : kCases) expect_same_sums(dtype, k, some_ids(k));
  }
}

// More positions than a tile of the sort has, and more rows than one digit tells apart.
TEST_F(CudaEmbedding, GradOfManyPositions) {
  const Case k{700, 4, {2100}};
  expect_same_sums(DType::bf16, k, some_ids(k));
}

TEST_F(CudaEmbedding, GradOfPartOfATable) {
  const Case k{6, 24, {40}};
  expect_same_sums(DType::bf16, k, integers({DType::int32, k.ids}, 7, 0, 20), 9);
}

// Rows with just too few, just enough, and most of the positions, for the blocks that sum the rows
// that have many.
TEST_F(CudaEmbedding, GradOfFrequentIds) {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t hidden : {40, 33}) {
      const Case k{40, hidden, {127 + 128 + 700}};
      Tensor ids = integers({DType::int32, k.ids}, 7, 0, k.vocabulary);
      for (std::int64_t p = 0; p < 127; ++p) ids.set(7 * p, 3);
      for (std::int64_t p = 0; p < 128; ++p) ids.set(7 * p + 1, 30);
      for (std::int64_t p = 0; p < ids.size(); ++p) {
        if (p % 7 > 2) ids.set(p, 39);
      }
      expect_same_sums(dtype, k, ids);
    }
  }
}

// Whose positions begin where blocks look.
TEST_F(CudaEmbedding, GradOfOneId) {
  const Case k{2, 8, {300}};
  expect_same_sums(DType::bf16, k, integers({DType::int32, k.ids}, 7, 1, 2));
}

TEST_F(CudaEmbedding, DeclinesOtherSums) {
  const TensorType sum{DType::fp64, {4, 2}};
  EXPECT_TRUE(
      run_cuda_kernel(cuda::embedding_grad,
                      {normal({DType::fp64, {3, 2}}, 1), integers({DType::int32, {3}}, 1, 0, 4)},
                      {sum}, {{"rows", 4}})
          .declined);
}

}  // namespace
}  // namespace bessemer::testing

// Movement on a CUDA device, against the reference, byte for byte.
#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/divisor.h"
#include "kernels/cuda/strided_problem.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

using Integers = std::vector<std::int64_t>;

// Of each size an element may have.
const std::vector<DType> kDtypes{DType::int64, DType::fp32, DType::bf16, DType::int8};

Tensor sample(DType dtype, const Shape& shape, std::uint64_t seed = 1) {
  return integers({dtype, shape}, seed, -100, 100);
}

std::size_t from_front(std::int64_t dim, const Shape& shape) {
  return static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(shape.size()) : dim);
}

void expect_transposed(DType dtype, const Shape& shape, const Integers& permutation) {
  TensorType result{dtype, {}};
  for (const std::int64_t d : permutation) result.shape.push_back(shape[from_front(d, shape)]);
  const Tensor x = sample(dtype, shape);
  expect_same_bits(
      {cuda::transpose, reference::transpose, {x}, {result}, {{"permutation", permutation}}, {}},
      "transpose " + to_string(x.type()) + " to " + to_string(result));
}

struct Permuted {
  Shape shape;
  Integers permutation;
};

class CudaCopy : public CudaTest {};

TEST_F(CudaCopy, Transpose) {
  const std::vector<Permuted> cases{{{5}, {0}},
                                    {{1, 1}, {1, 0}},
                                    {{3, 5}, {1, 0}},
                                    {{70, 133}, {-1, -2}},  // tiles of elements
                                    {{136, 80}, {1, 0}},    // tiles of packs, cut on both sides
                                    {{32, 300}, {1, 0}},    // rows of packs, columns not
                                    {{5, 300}, {1, 0}},     // too narrow for tiles
                                    {{2, 9, 3, 16}, {0, 2, 1, 3}},  // heads
                                    {{2, 9, 3, 5}, {0, 2, 1, 3}},
                                    {{2, 33, 4, 40}, {0, 2, 3, 1}},
                                    {{3, 40, 2, 35}, {3, 1, 0, 2}},
                                    {{2, 2, 2, 2, 2, 2, 2, 2}, {6, 4, 2, 0, 7, 5, 3, 1}},
                                    {{4, 1, 6}, {2, 1, 0}},
                                    {{2, 3, 0, 4}, {3, 2, 1, 0}},
                                    {{5, 6, 7}, {0, 1, 2}}};
  for (const DType dtype : kDtypes) {
    for (const Permuted& c : cases) expect_transposed(dtype, c.shape, c.permutation);
  }
}

// As models have them: heads to the front, with rows of several packs, and a matrix of weights.
TEST_F(CudaCopy, TransposeOfModels) {
  expect_transposed(DType::bf16, {2, 40, 12, 64}, {0, 2, 1, 3});
  expect_transposed(DType::fp32, {1, 17, 8, 128}, {0, 2, 1, 3});
  expect_transposed(DType::bf16, {2, 128, 2, 64}, {0, 2, 3, 1});
  expect_transposed(DType::bf16, {768, 72}, {1, 0});
  expect_transposed(DType::fp32, {48, 1024}, {1, 0});
}

TEST_F(CudaCopy, TransposeOfTooManyDimensionsIsDeclined) {
  const TensorType type{DType::fp32, Shape(9, 1)};
  const KernelRun run = run_cuda_kernel(cuda::transpose, {Tensor(type)}, {type},
                                        {{"permutation", Integers{0, 1, 2, 3, 4, 5, 6, 7, 8}}});
  ASSERT_TRUE(run.declined);
  EXPECT_NE(run.declined->find("9 dimensions"), std::string::npos) << *run.declined;
}

struct Range {
  Shape shape;
  std::int64_t dim, begin, end;
};

void expect_ranges(DType dtype, const Range& c) {
  const std::size_t dim = from_front(c.dim, c.shape);
  TensorType part{dtype, c.shape}, joined{dtype, c.shape};
  part.shape[dim] = c.end - c.begin;
  joined.shape[dim] = 2 * c.shape[dim] + part.shape[dim];
  const std::int64_t after = c.shape[dim] - c.end;
  const Tensor whole = sample(dtype, c.shape);
  expect_same_bits({cuda::slice,
                    reference::slice,
                    {whole},
                    {part},
                    {{"dim", c.dim}, {"begin", c.begin}, {"end", c.end}},
                    {}},
                   "slice " + to_string(whole.type()) + " to " + to_string(part));
  expect_same_bits({cuda::pad,
                    reference::pad,
                    {sample(dtype, part.shape)},
                    {whole.type()},
                    {{"dim", c.dim}, {"before", c.begin}, {"after", after}},
                    {}},
                   "pad " + to_string(part) + " to " + to_string(whole.type()));
  expect_same_bits({cuda::concat,
                    reference::concat,
                    {whole, sample(dtype, part.shape, 2), sample(dtype, c.shape, 3)},
                    {joined},
                    {{"dim", c.dim}},
                    {}},
                   "concat " + to_string(joined));
}

TEST_F(CudaCopy, SlicePadConcat) {
  const std::vector<Range> cases{
      {{7}, 0, 2, 5},        {{5, 9}, 1, 0, 4},        {{5, 9}, 0, 1, 5},
      {{3, 4, 5}, -2, 1, 3}, {{4, 1500}, 1, 3, 1499},  {{300, 7}, 0, 0, 300},
      {{2, 3}, 1, 1, 1},     {{6, 5}, 1, 2, 3},        {{3, 48, 2}, 1, 16, 32},
      {{0, 4}, 1, 1, 3},     {{2, 3, 256}, 2, 64, 128}};
  for (const DType dtype : kDtypes) {
    for (const Range& c : cases) expect_ranges(dtype, c);
  }
}

// Queries, keys and values in one row, as GPT-2 has them.
TEST_F(CudaCopy, SliceOfModels) { expect_ranges(DType::bf16, {{6, 2304}, 1, 768, 1536}); }

// Byte by byte, in more blocks of threads than a device has multiprocessors.
TEST_F(CudaCopy, SliceOfManyBlocks) {
  const Tensor x = sample(DType::uint8, {300, 1000});
  expect_same_bits({cuda::slice,
                    reference::slice,
                    {x},
                    {{DType::uint8, {300, 999}}},
                    {{"dim", 1}, {"begin", 1}, {"end", 1000}},
                    {}},
                   "slice of many blocks");
}

TEST_F(CudaCopy, BroadcastFillReshape) {
  struct Case {
    Shape shape, result;
    Integers dims;
  };
  const std::vector<Case> cases{{{}, {5}, {0}},
                                {{7}, {3, 7}, {0}},
                                {{3}, {3, 70}, {1}},
                                {{3}, {3, 64}, {1}},
                                {{}, {70003}, {0}},
                                {{3, 5}, {3, 4, 5, 6}, {1, -1}},
                                {{4, 50}, {4, 50}, {}},
                                {{768}, {5, 768}, {0}},
                                {{6}, {2, 6, 3, 32}, {0, 2, 3}},
                                {{4, 64}, {4, 9, 64}, {1}},
                                {{0}, {3, 0}, {0}}};
  for (const DType dtype : kDtypes) {
    for (const Case& c : cases) {
      const TensorType result{dtype, c.result};
      expect_same_bits({cuda::broadcast,
                        reference::broadcast,
                        {sample(dtype, c.shape)},
                        {result},
                        {{"shape", c.result}, {"dims", c.dims}},
                        {}},
                       "broadcast " + to_string(result));
      expect_same_bits({cuda::fill, reference::fill, {}, {result}, {{"value", 3.0}}, {}},
                       "fill " + to_string(result));
      const TensorType flat{dtype, {result.elements()}};
      expect_same_bits(
          {cuda::reshape, reference::reshape, {sample(dtype, c.result)}, {flat}, {}, {}},
          "reshape " + to_string(result));
    }
  }
}

TEST_F(CudaCopy, FillTakesEveryDtypeThatKernelsTake) {
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16, DType::fp16, DType::int8,
                            DType::uint8, DType::int32, DType::int64, DType::boolean}) {
    for (const double value : {-2.9, 0.0, 1.0, 1e30}) {
      expect_same_bits({cuda::fill, reference::fill, {}, {{dtype, {3, 7}}}, {{"value", value}}, {}},
                       "fill " + std::string(name_of(dtype)));
    }
  }
}

TEST_F(CudaCopy, CacheWrite) {
  // A position twice (the later row stays), and positions beyond the cache (nothing happens).
  const Tensor positions = of({DType::int32, {3, 4}}, {0, 1, 2, 3, 9, 5, 5, 0, -1, 10, 4, 6});
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const Shape& row : {Shape{2, 7}, Shape{1, 1}, Shape{2, 64}, Shape{8, 128}, Shape{0, 4}}) {
      const TensorType cache{dtype, {3, 10, row[0], row[1]}};
      const Operands operands{sample(dtype, cache.shape, 1),
                              sample(dtype, {3, 4, row[0], row[1]}, 2), positions};
      for (const auto& share : {std::vector<std::pair<int, int>>{}, {{0, 0}}}) {
        expect_same_bits({cuda::cache_write, reference::cache_write, operands, {cache}, {}, share},
                         "cache_write " + to_string(cache));
      }
    }
  }
}

// Many rows for one position, more of them than a block has threads.
TEST_F(CudaCopy, CacheWriteKeepsTheLastOfManyRows) {
  Tensor positions({DType::int32, {1, 130}});
  for (std::int64_t i = 0; i < 130; ++i) positions.set(i, static_cast<double>(i % 2));
  const TensorType cache{DType::fp32, {1, 3, 1, 4}};
  expect_same_bits(
      {cuda::cache_write,
       reference::cache_write,
       {sample(DType::fp32, cache.shape, 1), sample(DType::fp32, {1, 130, 1, 4}, 2), positions},
       {cache},
       {},
       {}},
      "cache_write of many rows");
}

TEST_F(CudaCopy, FetchAndStore) {
  for (const DType dtype : kDtypes) {
    const Tensor x = sample(dtype, {6, 39}), piece = sample(dtype, {3, 7}, 2);
    expect_same_bits({cuda::fetch, reference::fetch, {x}, {x.type()}, {}, {}}, "fetch");
    expect_same_bits(
        {cuda::fetch, reference::fetch, {x}, {{dtype, {72}}}, {{"begin", 5}, {"end", 77}}, {}},
        "fetch of a range");
    expect_same_bits({cuda::fetch, reference::fetch, {x}, {{dtype, {0}}}, {{"begin", 5}}, {}},
                     "fetch of nothing");
    expect_same_bits({cuda::store, reference::store, {x}, {x.type()}, {}, {}}, "store");
    for (const auto& share : {std::vector<std::pair<int, int>>{}, {{0, 1}}}) {
      expect_same_bits(
          {cuda::store, reference::store, {piece, x}, {x.type()}, {{"begin", 5}}, share},
          "store of a range");
    }
  }
}

TEST(Divisor, DividesEveryIndex) {
  constexpr std::int64_t kLast = cuda::Divisor::kLimit - 1;
  Integers divisors{1, 2, 3, 5, 6, 7, 10, 641, 768, 50257, kLast - 1, kLast};
  for (int bit = 2; bit < 31; ++bit) {
    for (const std::int64_t near : {-1, 0, 1}) divisors.push_back((std::int64_t{1} << bit) + near);
  }
  for (const std::int64_t divisor : divisors) {
    const cuda::Divisor by(divisor);
    EXPECT_EQ(by.divisor(), divisor);
    const auto expect_quotient = [&](std::int64_t index) {
      if (index < 0 || index > kLast) return;
      ASSERT_EQ(by.quotient(static_cast<std::uint32_t>(index)), index / divisor)
          << index << " / " << divisor;
    };
    for (const std::int64_t multiple : {std::int64_t{0}, divisor, kLast / divisor * divisor,
                                        kLast / divisor / 2 * divisor, kLast}) {
      for (const std::int64_t near : {-1, 0, 1}) expect_quotient(multiple + near);
    }
  }
  EXPECT_THROW(cuda::Divisor(0), Error);
  EXPECT_THROW(cuda::Divisor(kLast + 1), Error);
}

// Each part below the limit, beginning where the one before ends.
TEST(StridedProblem, IsCutWhereIndicesWouldNotFit) {
  constexpr std::int64_t kRows = 50000, kColumns = 150001;
  const std::vector<cuda::StridedProblem> parts =
      cuda::parts_of({{{kRows, 4, 4 * kColumns}, {kColumns, 4 * kRows, 4}}, 4});
  ASSERT_GT(parts.size(), 2u);
  std::int64_t begin = 0;
  for (const cuda::StridedProblem& part : parts) {
    EXPECT_LT(part.count(), cuda::Divisor::kLimit);
    ASSERT_EQ(part.dimensions.size(), 2u);
    EXPECT_EQ(part.dimensions[0].size, kRows);
    EXPECT_EQ(part.to_begin, 4 * begin);
    EXPECT_EQ(part.from_begin, 4 * kRows * begin);
    EXPECT_EQ(part.to_begin % 16, 0);
    begin += part.inner().size;
  }
  EXPECT_EQ(begin, kColumns);
}

TEST(StridedProblem, MovesTheWidestUnitThatFitsEverywhere) {
  const auto unit_of = [](std::int64_t width, std::int64_t stride, std::int64_t begin) {
    cuda::StridedProblem rows{{{5, 2 * stride, 2 * width}, {width, 2, 2}}, 2};
    rows.from_begin = 2 * begin;
    return cuda::widest_unit(rows);
  };
  EXPECT_EQ(unit_of(64, 128, 0), 16);
  EXPECT_EQ(unit_of(64, 128, 4), 8);
  EXPECT_EQ(unit_of(64, 130, 0), 4);
  EXPECT_EQ(unit_of(66, 128, 0), 4);
  EXPECT_EQ(unit_of(63, 128, 0), 2);
}

}  // namespace
}  // namespace bessemer::testing

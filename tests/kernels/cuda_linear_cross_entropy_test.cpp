// The CUDA backend's head and cross-entropy against the reference.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/linear_cross_entropy.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using kernels::HeadMode;
using kernels::KernelRequest;

const TensorType kScalar{DType::fp32, {}};
const Attributes kChunk{{"chunk", std::int64_t{4}}};

using CudaLinearCrossEntropy = CudaTest;
using CudaCrossEntropyRows = CudaTest;

/// The three ops, 32 rows at a time.
kernels::Prepared forward(const KernelRequest& r) {
  return cuda::head_in_chunks(r, HeadMode::forward, 32);
}
kernels::Prepared gradient(const KernelRequest& r) {
  return cuda::head_in_chunks(r, HeadMode::gradient, 32);
}
kernels::Prepared train(const KernelRequest& r) {
  return cuda::head_in_chunks(r, HeadMode::train, 32);
}

struct Kernels {
  const char* name;
  PrepareFn forward, gradient, train;
};
const Kernels kOwnChunks{"own chunks", cuda::linear_cross_entropy, cuda::linear_cross_entropy_grad,
                         cuda::linear_cross_entropy_train};
const Kernels kSmallChunks{"chunks of 32", forward, gradient, train};

struct Case {
  std::int64_t rows, hidden, vocabulary;
  const Kernels& kernels;
  bool addend;
};

const std::vector<Case> kCases = {
    {1, 1, 1, kOwnChunks, false},      {7, 16, 33, kOwnChunks, true},
    {37, 16, 97, kSmallChunks, false}, {64, 16, 40, kSmallChunks, true},
    {5, 768, 64, kOwnChunks, false},   {1, 8, 8209, kOwnChunks, true},
};

void expect_close(const KernelRun& run, const KernelRun& expected, double allowed) {
  ASSERT_FALSE(run.declined) << *run.declined;
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    const bool rounded = run.results[r].type().dtype == DType::bf16;
    EXPECT_LE(relative_difference(run.results[r], expected.results[r]), rounded ? 1e-2 : allowed)
        << "result " << r;
  }
}

void check(const Case& c, DType dtype) {
  SCOPED_TRACE(fmt::format("{} x {} x {} {} in {}", c.rows, c.hidden, c.vocabulary, name_of(dtype),
                           c.kernels.name));
  const Tensor x = normal({dtype, {c.rows, c.hidden}}, 1);
  const Tensor w = normal({dtype, {c.vocabulary, c.hidden}}, 2, 0.3);
  const Tensor targets =
      integers({DType::int32, {c.rows}}, 3, c.rows > 1 ? -1 : 0, c.vocabulary + (c.rows > 1));
  const Tensor dloss = of(kScalar, {0.125});
  const TensorType rows{DType::fp32, {c.rows}}, dw{DType::fp32, {c.vocabulary, c.hidden}};
  std::optional<Tensor> addend;
  if (c.addend) addend = normal(dw, 4);
  // The gradient of the logits is rounded to the dtype of x before it is multiplied.
  const double allowed = dtype == DType::bf16 ? 5e-3 : 2e-5;

  const Operands layer{x, w, targets};
  const KernelRun y = run_in_each_thread_order(c.kernels.forward, layer, {kScalar, rows}, kChunk);
  expect_close(y, run_kernel(reference::linear_cross_entropy, layer, {kScalar, rows}, kChunk),
               2e-5);
  const Operands back{dloss, x, w, targets, y.results[1], addend};
  const KernelRun dy = run_in_each_thread_order(c.kernels.gradient, back, {x.type(), dw}, kChunk);
  expect_close(dy, run_kernel(reference::linear_cross_entropy_grad, back, {x.type(), dw}, kChunk),
               allowed);

  const Operands in{dloss, x, w, targets, addend};
  const std::vector<TensorType> types{kScalar, x.type(), dw};
  const KernelRun both = run_in_each_thread_order(c.kernels.train, in, types, kChunk);
  ASSERT_FALSE(both.declined) << *both.declined;
  EXPECT_TRUE(same_bits(both.results[0], y.results[0]));
  EXPECT_TRUE(same_bits(both.results[1], dy.results[0]));
  EXPECT_TRUE(same_bits(both.results[2], dy.results[1]));
  if (!c.addend) return;
  const KernelRun shared = run_cuda_kernel(c.kernels.train, in, types, kChunk, {{2, 4}});
  EXPECT_TRUE(same_bits(shared.results[2], both.results[2])) << "in place";
}

TEST_F(CudaLinearCrossEntropy, AgreesWithReference) {
  for (const Case& c : kCases) {
    check(c, DType::bf16);
    if (c.vocabulary < 1000) check(c, DType::fp32);
  }
}

// Logits and loss are a row's own.
TEST_F(CudaLinearCrossEntropy, LossDoesNotDependOnChunks) {
  const Operands layer{normal({DType::fp32, {70, 16}}, 1), normal({DType::fp32, {50, 16}}, 2),
                       integers({DType::int32, {70}}, 3, 0, 50)};
  const std::vector<TensorType> types{kScalar, {DType::fp32, {70}}};
  const KernelRun whole = run_cuda_kernel(kOwnChunks.forward, layer, types, kChunk);
  const KernelRun parts = run_cuda_kernel(kSmallChunks.forward, layer, types, kChunk);
  EXPECT_LE(relative_difference(parts.results[0], whole.results[0]), 1e-6);
  EXPECT_LE(relative_difference(parts.results[1], whole.results[1]), 1e-6);
}

TEST_F(CudaLinearCrossEntropy, IgnoredRowsGiveNothing) {
  const Tensor x = normal({DType::bf16, {2, 8}}, 1), w = normal({DType::bf16, {20, 8}}, 2);
  const TensorType dw{DType::fp32, {20, 8}};
  const KernelRun run = run_cuda_kernel(
      cuda::linear_cross_entropy_train,
      {of(kScalar, {1}), x, w, of({DType::int32, {2}}, {-100, 20}), {}}, {kScalar, x.type(), dw});
  ASSERT_FALSE(run.declined);
  EXPECT_EQ(run.results[0].get(0), 0);
  for (std::int64_t i = 0; i < x.size(); ++i) EXPECT_EQ(run.results[1].get(i), 0);
  for (std::int64_t i = 0; i < w.size(); ++i) EXPECT_EQ(run.results[2].get(i), 0);
}

TEST_F(CudaLinearCrossEntropy, ABrokenLogitShowsInTheLoss) {
  Tensor x = normal({DType::fp32, {3, 8}}, 1);
  x.set(9, NAN);
  const KernelRun run =
      run_cuda_kernel(cuda::linear_cross_entropy,
                      {x, normal({DType::fp32, {50, 8}}, 2), of({DType::int32, {3}}, {1, 2, 3})},
                      {kScalar, {DType::fp32, {3}}});
  EXPECT_TRUE(std::isnan(run.results[0].get(0)));
  EXPECT_FALSE(std::isnan(run.results[1].get(0)));
  EXPECT_TRUE(std::isnan(run.results[1].get(1)));
}

TEST_F(CudaLinearCrossEntropy, LargeLogitsStayFinite) {
  const KernelRun run =
      run_cuda_kernel(cuda::linear_cross_entropy,
                      {of({DType::fp32, {1, 1}}, {1}), of({DType::fp32, {3, 1}}, {1e4, -1e4, 1e4}),
                       of({DType::int32, {1}}, {0})},
                      {kScalar, {DType::fp32, {1}}});
  EXPECT_NEAR(run.results[0].get(0), std::log(2.0), 1e-3);
}

TEST_F(CudaLinearCrossEntropy, DeclinesOtherDtypes) {
  const Tensor x({DType::fp64, {2, 8}}), w({DType::fp64, {20, 8}});
  const KernelRun run =
      run_cuda_kernel(cuda::linear_cross_entropy, {x, w, of({DType::int32, {2}}, {1, 2})},
                      {{DType::fp64, {}}, {DType::fp64, {2}}});
  ASSERT_TRUE(run.declined);
  EXPECT_FALSE(run.declined->empty());
}

TEST(CudaHeadChunk, FollowsFromTheShape) {
  EXPECT_EQ(cuda::head_chunk(100, 50257), 100);
  EXPECT_EQ(cuda::head_chunk(2048, 151936), 2048);
  for (const std::int64_t rows : {4096, 16384, 30000}) {
    for (const std::int64_t vocabulary : {256, 32000, 50257, 151936}) {
      const std::int64_t chunk = cuda::head_chunk(rows, vocabulary);
      EXPECT_GE(chunk, std::min<std::int64_t>(rows, 1536)) << rows << " " << vocabulary;
      EXPECT_TRUE(chunk == rows || chunk % 128 == 0) << rows << " " << vocabulary;
      EXPECT_LE(chunk * vocabulary,
                std::max<std::int64_t>(2048 * vocabulary, 268435456) + 128 * vocabulary);
    }
  }
}

// Rows that are aligned and rows that are not, of one round of a block and of several.
TEST_F(CudaCrossEntropyRows, AgreesWithReference) {
  for (const std::int64_t vocabulary : {1, 9, 64, 8200, 8201}) {
    const std::int64_t count = vocabulary > 1000 ? 1 : 6;
    SCOPED_TRACE(vocabulary);
    const TensorType type{DType::fp32, {count, vocabulary}}, wide{DType::fp64, {}};
    const Tensor logits = normal(type, 1, 3.0);
    const Tensor targets = integers({DType::int32, {count}}, 3, count > 1 ? -1 : 0, vocabulary);
    std::optional<Tensor> before;
    if (vocabulary % 2 == 0) before = of(wide, {1.5});
    const Operands in{logits, targets, before};
    const std::vector<TensorType> types{wide, {DType::fp32, {count}}};
    expect_close(run_in_each_thread_order(cuda::cross_entropy_rows, in, types),
                 run_kernel(reference::cross_entropy_rows, in, types), 2e-6);

    const Operands back{logits, targets, of(kScalar, {0.25}), before};
    const KernelRun run =
        run_in_each_thread_order(cuda::cross_entropy_rows_train, back, {wide, type});
    expect_close(run, run_kernel(reference::cross_entropy_rows_train, back, {wide, type}), 2e-6);
    const KernelRun shared =
        run_cuda_kernel(cuda::cross_entropy_rows_train, back, {wide, type}, {}, {{1, 0}});
    EXPECT_TRUE(same_bits(shared.results[0], run.results[0])) << "in place";
    EXPECT_TRUE(same_bits(shared.results[1], run.results[1])) << "in place";
  }
}

}  // namespace
}  // namespace bessemer::testing

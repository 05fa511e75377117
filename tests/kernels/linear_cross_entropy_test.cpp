// The chunked head and loss against plain loops in fp64.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;

struct Case {
  std::int64_t rows, hidden, vocabulary, chunk;  // chunk 0: the default
  bool addend;
};

const std::vector<Case> kCases = {
    {1, 1, 1, 0, false},   {7, 16, 33, 3, false},    {7, 16, 33, 3, true},
    {12, 40, 97, 4, true}, {20, 65, 300, 100, true}, {33, 24, 2051, 0, false},
};

struct Expected {
  Tensor loss, lse, dx, dw;
};

Expected expected(const Case& c, const Tensor& x, const Tensor& w, const Tensor& targets,
                  double dloss, const std::optional<Tensor>& addend) {
  Expected e{Tensor({DType::fp64, {}}), Tensor({DType::fp64, {c.rows}}),
             Tensor({DType::fp64, {c.rows, c.hidden}}),
             Tensor({DType::fp64, {c.vocabulary, c.hidden}})};
  std::vector<double> dx(c.rows * c.hidden), dw(c.vocabulary * c.hidden), row(c.vocabulary);
  if (addend) {
    for (std::int64_t i = 0; i < addend->size(); ++i) dw[i] = addend->get(i);
  }
  double loss = 0;
  for (std::int64_t n = 0; n < c.rows; ++n) {
    double sum = 0;
    for (std::int64_t v = 0; v < c.vocabulary; ++v) {
      row[v] = 0;
      for (std::int64_t h = 0; h < c.hidden; ++h) {
        row[v] += x.get(n * c.hidden + h) * w.get(v * c.hidden + h);
      }
      sum += std::exp(row[v]);
    }
    const double lse = std::log(sum);
    e.lse.set(n, lse);
    const auto target = static_cast<std::int64_t>(targets.get(n));
    if (target < 0) continue;
    loss += lse - row[target];
    for (std::int64_t v = 0; v < c.vocabulary; ++v) {
      const double dlogit = dloss * (std::exp(row[v] - lse) - (v == target ? 1 : 0));
      for (std::int64_t h = 0; h < c.hidden; ++h) {
        dx[n * c.hidden + h] += dlogit * w.get(v * c.hidden + h);
        dw[v * c.hidden + h] += dlogit * x.get(n * c.hidden + h);
      }
    }
  }
  e.loss.set(0, loss);
  for (std::int64_t i = 0; i < e.dx.size(); ++i) e.dx.set(i, dx[i]);
  for (std::int64_t i = 0; i < e.dw.size(); ++i) e.dw.set(i, dw[i]);
  return e;
}

void check(const Case& c, DType dtype, std::size_t misalign) {
  SCOPED_TRACE(fmt::format("rows {} hidden {} vocabulary {} chunk {} {}", c.rows, c.hidden,
                           c.vocabulary, c.chunk, name_of(dtype)));
  const Tensor x = normal({dtype, {c.rows, c.hidden}}, 1, 1.0, misalign);
  const Tensor w = normal({dtype, {c.vocabulary, c.hidden}}, 2, 0.3, misalign);
  const Tensor targets = integers({DType::int32, {c.rows}}, 3, c.rows > 1 ? -1 : 0, c.vocabulary);
  const Tensor dloss = of({DType::fp32, {}}, {0.125});
  std::optional<Tensor> addend;
  const TensorType dw_type{DType::fp32, {c.vocabulary, c.hidden}};
  if (c.addend) addend = normal(dw_type, 4, 1.0, misalign);
  const Expected e = expected(c, x, w, targets, 0.125, addend);
  const Attributes attributes{{"chunk", c.chunk}};
  const TensorType scalar{DType::fp32, {}}, rows{DType::fp32, {c.rows}};
  // dx is rounded to its dtype, the loss only by the fp32 sums; dw too, unless the machine
  // multiplies bf16 itself and so rounds the gradient of the logits.
  const double exact = 1e-5, rounded = dtype == DType::bf16 ? 5e-3 : 1e-5;
  const double of_dw = kernels::Machine::detect().avx512_bf16 ? rounded : exact;

  const KernelRun forward =
      run_kernel(cpu::linear_cross_entropy, {x, w, targets}, {scalar, rows}, attributes, misalign);
  ASSERT_FALSE(forward.declined) << *forward.declined;
  EXPECT_LT(relative_difference(forward.results[0], e.loss), exact);
  EXPECT_LT(relative_difference(forward.results[1], e.lse), exact);

  const KernelRun gradient =
      run_kernel(cpu::linear_cross_entropy_grad, {dloss, x, w, targets, forward.results[1], addend},
                 {x.type(), dw_type}, attributes, misalign);
  ASSERT_FALSE(gradient.declined) << *gradient.declined;
  EXPECT_LT(relative_difference(gradient.results[0], e.dx), rounded);
  EXPECT_LT(relative_difference(gradient.results[1], e.dw), of_dw);

  const Operands train_operands = {dloss, x, w, targets, addend};
  const std::vector<TensorType> train_results = {scalar, x.type(), dw_type};
  const KernelRun train = run_kernel(cpu::linear_cross_entropy_train, train_operands, train_results,
                                     attributes, misalign);
  ASSERT_FALSE(train.declined) << *train.declined;
  EXPECT_TRUE(same_bits(train.results[0], forward.results[0]));
  EXPECT_TRUE(same_bits(train.results[1], gradient.results[0]));
  EXPECT_TRUE(same_bits(train.results[2], gradient.results[1]));
  if (!c.addend) return;
  const KernelRun shared = run_kernel(cpu::linear_cross_entropy_train, train_operands,
                                      train_results, attributes, misalign, {{2, 4}});
  EXPECT_TRUE(same_bits(shared.results[2], train.results[2])) << "in place";
}

TEST(LinearCrossEntropy, Table) {
  for (const Case& c : kCases) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      check(c, dtype, 0);
      check(c, dtype, 1);
    }
  }
}

// Whatever the chunk, its rest of a row or two included, and whatever the threads.
TEST(LinearCrossEntropy, BitsDependNeitherOnChunksNorOnThreads) {
  struct Shapes {
    std::int64_t rows, hidden, vocabulary;
  };
  const int threads = thread_count();
  for (const auto& [rows, hidden, vocabulary] : {Shapes{130, 48, 301}, Shapes{257, 200, 2311}}) {
    for (const DType dtype : {DType::bf16, DType::fp32}) {
      for (const bool with_addend : {false, true}) {
        SCOPED_TRACE(fmt::format("{}x{}x{} {} addend {}", rows, hidden, vocabulary, name_of(dtype),
                                 with_addend));
        const Tensor x = normal({dtype, {rows, hidden}}, 1);
        const Tensor w = normal({dtype, {vocabulary, hidden}}, 2, 0.3);
        const Tensor targets = integers({DType::int32, {rows}}, 3, -1, vocabulary);
        const TensorType scalar{DType::fp32, {}}, dw{DType::fp32, {vocabulary, hidden}};
        std::optional<Tensor> addend;
        if (with_addend) addend = normal(dw, 4);
        const Operands operands{of(scalar, {0.125}), x, w, targets, addend};
        const auto run = [&](std::int64_t chunk, int with_threads) {
          set_thread_count(with_threads);
          const KernelRun train = run_kernel(cpu::linear_cross_entropy_train, operands,
                                             {scalar, x.type(), dw}, {{"chunk", chunk}});
          set_thread_count(threads);
          return train.results;
        };
        const std::vector<Tensor> whole = run(rows, 1);
        for (const std::int64_t chunk : {1, 8, 32, 64, 100, 128, 129}) {
          const std::vector<Tensor> parts = run(chunk, chunk % 3 + 1);
          for (std::size_t i = 0; i < whole.size(); ++i) {
            EXPECT_TRUE(same_bits(parts[i], whole[i])) << "result " << i << " chunk " << chunk;
          }
        }
      }
    }
  }
}

TEST(LinearCrossEntropy, IgnoredRowsGiveNothing) {
  const Tensor x = normal({DType::fp32, {2, 8}}, 1), w = normal({DType::fp32, {20, 8}}, 2);
  const Tensor targets = of({DType::int32, {2}}, {-100, -1});
  const KernelRun run =
      run_kernel(cpu::linear_cross_entropy_train, {of({DType::fp32, {}}, {1}), x, w, targets, {}},
                 {{DType::fp32, {}}, x.type(), w.type()});
  ASSERT_FALSE(run.declined);
  EXPECT_EQ(run.results[0].get(0), 0);
  for (std::int64_t i = 0; i < x.size(); ++i) EXPECT_EQ(run.results[1].get(i), 0);
  for (std::int64_t i = 0; i < w.size(); ++i) EXPECT_EQ(run.results[2].get(i), 0);
}

TEST(LinearCrossEntropy, ABrokenLogitShowsInTheLoss) {
  Tensor x = normal({DType::fp32, {3, 8}}, 1);
  x.set(9, NAN);
  const KernelRun run =
      run_kernel(cpu::linear_cross_entropy,
                 {x, normal({DType::fp32, {50, 8}}, 2), of({DType::int32, {3}}, {1, 2, 3})},
                 {{DType::fp32, {}}, {DType::fp32, {3}}});
  EXPECT_TRUE(std::isnan(run.results[0].get(0)));
  EXPECT_FALSE(std::isnan(run.results[1].get(0)));
  EXPECT_TRUE(std::isnan(run.results[1].get(1)));
}

TEST(LinearCrossEntropy, LargeLogitsStayFinite) {
  const KernelRun run =
      run_kernel(cpu::linear_cross_entropy,
                 {of({DType::fp32, {1, 1}}, {1}), of({DType::fp32, {3, 1}}, {1e4, -1e4, 1e4}),
                  of({DType::int32, {1}}, {0})},
                 {{DType::fp32, {}}, {DType::fp32, {1}}});
  EXPECT_NEAR(run.results[0].get(0), std::log(2.0), 1e-3);
}

TEST(LinearCrossEntropy, DeclinesOtherDtypes) {
  const Tensor x({DType::fp64, {2, 8}}), w({DType::fp64, {20, 8}});
  EXPECT_TRUE(run_kernel(cpu::linear_cross_entropy, {x, w, of({DType::int32, {2}}, {1, 2})},
                         {{DType::fp64, {}}, {DType::fp64, {2}}})
                  .declined);
}

}  // namespace
}  // namespace bessemer::testing

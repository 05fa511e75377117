// The attention kernels of the CUDA backend against the reference: both the tiles of the tensor
// cores and the plain kernels, at the head sizes of real models, over several tiles and their
// tails.

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/kernel_runner.h"
#include "support/tensor.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

enum class Visible { all, documents, ragged };

struct Case {
  std::int64_t batch, queries, keys, heads, key_heads, head_size;
  bool causal = true;
  std::int64_t window = 0;
  Visible visible = Visible::all;
  double dropout = 0;
  double deviation = 1;  // of q and k: large ones make the softmax sharp
  double sign = 1;       // of the scale

  Attributes attributes() const {
    return {{"scale", sign / std::sqrt(static_cast<double>(head_size))},
            {"causal", causal},
            {"window", window},
            {"dropout", dropout},
            {"site", std::int64_t{5}}};
  }
  Shape query_shape() const { return {batch, queries, heads, head_size}; }
  Shape key_shape() const { return {batch, keys, key_heads, head_size}; }
};

std::string describe(const Case& c, DType dtype) {
  return fmt::format("B={} T={} S={} H={} K={} D={} causal={} window={} visible={} dropout={} {}",
                     c.batch, c.queries, c.keys, c.heads, c.key_heads, c.head_size, c.causal,
                     c.window, static_cast<int>(c.visible), c.dropout, name_of(dtype));
}

// Documents: runs of 90, 20, 90, 20, ... tokens, each seeing only itself, so that some tiles of
// keys are seen by no query of a tile. Ragged: any interval, empty, reversed and out-of-range ones
// among them.
Tensor visibility(const Case& c) {
  Tensor tensor({DType::int32, {c.batch, c.queries, 2}});
  const CounterRng rng(77, 0, 0);
  const auto range = static_cast<std::uint32_t>(c.keys + 6);
  for (std::int64_t i = 0; i < c.batch * c.queries; ++i) {
    const std::int64_t t = i % c.queries, start = t / 110 * 110 + (t % 110 < 90 ? 0 : 90);
    const std::int64_t length = t % 110 < 90 ? 90 : 20;
    const bool documents = c.visible == Visible::documents;
    const auto word = static_cast<std::uint64_t>(2 * i);
    tensor.set(2 * i, documents ? static_cast<double>(start) : rng.word(word) % range - 3.0);
    tensor.set(2 * i + 1, documents ? static_cast<double>(std::min(start + length, c.keys))
                                    : rng.word(word + 1) % range - 3.0);
  }
  return tensor;
}

Operands forward_operands(const Case& c, DType dtype) {
  Operands operands{normal({dtype, c.query_shape()}, 1, c.deviation),
                    normal({dtype, c.key_shape()}, 2, c.deviation),
                    normal({dtype, c.key_shape()}, 3), std::nullopt, std::nullopt};
  if (c.visible != Visible::all) operands[3] = visibility(c);
  if (c.dropout > 0) operands[4] = of({DType::int64, {3}}, {11, 3, 1});
  return operands;
}

std::vector<TensorType> forward_types(const Case& c, DType dtype) {
  return {{dtype, c.query_shape()}, {DType::fp32, {c.batch, c.heads, c.queries}}};
}
std::vector<TensorType> backward_types(const Case& c, DType dtype) {
  return {{dtype, c.query_shape()}, {dtype, c.key_shape()}, {dtype, c.key_shape()}};
}

Operands backward_operands(const Case& c, const Operands& forward,
                           const std::vector<Tensor>& results) {
  Operands operands{normal({forward[0]->type().dtype, c.query_shape()}, 4)};
  operands.insert(operands.end(), forward.begin(), forward.begin() + 3);
  operands.insert(operands.end(), results.begin(), results.end());
  operands.insert(operands.end(), forward.begin() + 3, forward.end());
  return operands;
}

// bf16 stores round to 2^-9, and delta then sees a rounded o.
double tolerance(const Case& c, DType dtype) {
  return dtype == DType::bf16 ? 1.2e-2 : 4e-6 * std::max(1.0, c.deviation);
}

std::vector<Tensor> run(PrepareFn prepare, const Operands& operands,
                        const std::vector<TensorType>& types, const Attributes& attributes) {
  KernelRun done = run_cuda_kernel(prepare, operands, types, attributes);
  if (done.declined) throw Error(*done.declined);
  return std::move(done.results);
}

using CudaAttention = CudaTest;

void expect_agreement(const Case& c, DType dtype) {
  SCOPED_TRACE(describe(c, dtype));
  const Operands forward = forward_operands(c, dtype);
  const auto o = run(kernels::cuda::attention, forward, forward_types(c, dtype), c.attributes());
  const auto expected_o =
      run_kernel(kernels::reference::attention, forward, forward_types(c, dtype), c.attributes());
  EXPECT_LE(relative_difference(o[0], expected_o.results[0]), tolerance(c, dtype)) << "o";
  EXPECT_LE(relative_difference(o[1], expected_o.results[1]), 3e-6) << "lse";
  const Operands backward = backward_operands(c, forward, expected_o.results);
  const auto d =
      run(kernels::cuda::attention_grad, backward, backward_types(c, dtype), c.attributes());
  const auto expected_d = run_kernel(kernels::reference::attention_grad, backward,
                                     backward_types(c, dtype), c.attributes());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_LE(relative_difference(d[i], expected_d.results[i]), tolerance(c, dtype)) << "d" << i;
  }
}

// Queries come in tiles of 128, for gradients of keys of 64; keys in tiles of 64 and 32.
TEST_F(CudaAttention, TilesAgreeWithTheReference) {
  const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 64},
      {1, 130, 130, 2, 1, 64},
      {1, 34, 66, 3, 1, 128, false},
      {2, 20, 40, 2, 2, 96},
      {1, 40, 40, 1, 1, 80},
      {1, 20, 20, 2, 1, 8},
      // other lengths of queries and keys: a cache, and queries before the first key
      {1, 1, 150, 2, 1, 128},
      {1, 130, 66, 1, 1, 64},
      // windows
      {1, 100, 100, 1, 1, 64, true, 20},
      {1, 40, 70, 1, 1, 64, false, 17},
      // a tile of keys of which one query does not see the last, or the first
      {1, 32, 94, 1, 1, 64},
      {1, 32, 94, 1, 1, 64, false, 93},
      // a whole tile of queries that sees nothing, one of keys that nothing sees
      {1, 150, 12, 1, 1, 64},
      {1, 8, 80, 1, 1, 64, true, 4},
      // packed documents
      {2, 130, 130, 1, 1, 64, true, 0, Visible::documents},
      {1, 40, 70, 1, 1, 96, true, 60, Visible::ragged},
      // dropout, with and without whole Philox blocks of keys
      {1, 40, 72, 2, 1, 64, true, 0, Visible::all, 0.25},
      {1, 33, 71, 1, 1, 64, false, 0, Visible::all, 0.5},
      // sharp
      {1, 40, 40, 1, 1, 64, true, 0, Visible::all, 0, 5},
  };
  for (const Case& c : cases) expect_agreement(c, DType::bf16);
}

// Rows come in tiles of 16, columns in tiles of 32.
TEST_F(CudaAttention, PlainAgreesWithTheReference) {
  const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 64},
      {1, 35, 70, 2, 1, 64},
      {1, 18, 33, 1, 1, 256},
      {2, 17, 40, 3, 1, 23, false},
      {1, 50, 20, 1, 1, 128},
      {1, 1, 100, 2, 1, 80},
      {1, 40, 70, 1, 1, 40, true, 20},
      {1, 120, 120, 1, 1, 16, true, 0, Visible::documents},
      {2, 20, 50, 1, 1, 16, false, 9, Visible::ragged},
      {1, 40, 40, 2, 1, 16, true, 0, Visible::all, 0.25},
      {1, 40, 43, 2, 1, 16, false, 0, Visible::all, 0.5},
      {1, 40, 40, 1, 1, 16, true, 0, Visible::all, 0, 5},
  };
  for (const Case& c : cases) expect_agreement(c, DType::fp32);
  // what the tiles do not take
  const std::vector<Case> refused = {
      {1, 20, 20, 2, 1, 136},
      {1, 20, 33, 1, 1, 7},
      {1, 20, 33, 1, 1, 64, true, 0, Visible::all, 0, 1, -1},
  };
  for (const Case& c : refused) expect_agreement(c, DType::bf16);
}

// Tiles of keys that no query of a tile sees are not touched: what is no number there stays there.
TEST_F(CudaAttention, SkipsKeysThatNobodySees) {
  const Case c{1, 160, 128, 1, 1, 64, false};
  Operands forward = forward_operands(c, DType::bf16);
  forward[3] = Tensor({DType::int32, {1, c.queries, 2}});
  for (std::int64_t t = 0; t < c.queries; ++t) {  // each tile of queries sees a tile of keys
    forward[3]->set(2 * t, t < 128 ? 0 : 64);
    forward[3]->set(2 * t + 1, t < 128 ? 64 : 128);
  }
  forward[1]->set(5 * 64, NAN);
  const auto types = forward_types(c, DType::bf16);
  const auto o = run(kernels::cuda::attention, forward, types, c.attributes());
  const auto d = run(kernels::cuda::attention_grad, backward_operands(c, forward, o),
                     backward_types(c, DType::bf16), c.attributes());
  EXPECT_TRUE(std::isnan(o[0].get(0)));
  EXPECT_TRUE(std::isnan(o[1].get(0)));
  EXPECT_TRUE(std::isnan(d[0].get(0)));
  for (std::int64_t i = 128 * 64; i < 160 * 64; ++i) {
    ASSERT_TRUE(std::isfinite(o[0].get(i)) && std::isfinite(d[0].get(i))) << i;
  }
  for (std::int64_t i = 64 * 64; i < 128 * 64; ++i) {
    ASSERT_TRUE(std::isfinite(d[1].get(i)) && std::isfinite(d[2].get(i))) << i;
  }
}

// On the null device copies to shared memory arrive at once in one of the orders, and only when
// they are waited for in the other.
TEST_F(CudaAttention, AnyOrderOfThreadsGivesTheSameBits) {
  const Case tiles{1, 130, 130, 1, 1, 64, true, 0, Visible::documents, 0.25};
  const Case plain{1, 40, 40, 2, 1, 16, true, 0, Visible::documents, 0.25};
  for (const auto& [c, dtype] : {std::pair(tiles, DType::bf16), std::pair(plain, DType::fp32)}) {
    SCOPED_TRACE(describe(c, dtype));
    const Operands forward = forward_operands(c, dtype);
    const KernelRun o = run_in_each_thread_order(kernels::cuda::attention, forward,
                                                 forward_types(c, dtype), c.attributes());
    const KernelRun d = run_in_each_thread_order(kernels::cuda::attention_grad,
                                                 backward_operands(c, forward, o.results),
                                                 backward_types(c, dtype), c.attributes());
    EXPECT_FALSE(d.declined);
  }
}

// A query that sees no key: o = 0, lse = -inf, and no gradient in or out of it.
TEST_F(CudaAttention, BlindQueries) {
  const Case c{1, 5, 3, 1, 1, 16};  // causal: queries 0 and 1 come before the first key
  for (const DType dtype : {DType::bf16, DType::fp32}) {
    const Operands forward = forward_operands(c, dtype);
    const auto o = run(kernels::cuda::attention, forward, forward_types(c, dtype), c.attributes());
    const auto d = run(kernels::cuda::attention_grad, backward_operands(c, forward, o),
                       backward_types(c, dtype), c.attributes());
    for (std::int64_t i = 0; i < 2 * 16; ++i) {
      EXPECT_EQ(o[0].get(i), 0);
      EXPECT_EQ(d[0].get(i), 0);
    }
    EXPECT_EQ(o[1].get(0), -INFINITY);
    EXPECT_EQ(o[1].get(1), -INFINITY);
    EXPECT_TRUE(std::isfinite(o[1].get(2)));
  }
}

TEST_F(CudaAttention, DeclinesWithAReason) {
  const Case wide{1, 4, 4, 1, 1, 300};
  const auto refusal = [](const Case& c, DType dtype) {
    return run_cuda_kernel(kernels::cuda::attention, forward_operands(c, dtype),
                           forward_types(c, dtype), c.attributes())
        .declined;
  };
  EXPECT_EQ(refusal(wide, DType::fp32), "head size 300: takes 1 to 256");
  EXPECT_EQ(refusal({1, 4, 4, 1, 1, 8}, DType::fp64), "dtype fp64: takes fp32 and bf16");
}

}  // namespace
}  // namespace bessemer::testing

// The tiled attention kernels against a dense one in fp64, on every instruction set the machine
// has.

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/dropout_mask.h"
#include "support/kernel_runner.h"
#include "support/tensor.h"

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

  Attributes attributes() const {
    return {{"scale", 1.0 / std::sqrt(static_cast<double>(head_size))},
            {"causal", causal},
            {"window", window},
            {"dropout", dropout},
            {"site", std::int64_t{5}}};
  }
  Shape query_shape() const { return {batch, queries, heads, head_size}; }
  Shape key_shape() const { return {batch, keys, key_heads, head_size}; }
  Shape lse_shape() const { return {batch, heads, queries}; }
};

std::string describe(const Case& c) {
  return fmt::format("B={} T={} S={} H={} K={} D={} causal={} window={} visible={} dropout={}",
                     c.batch, c.queries, c.keys, c.heads, c.key_heads, c.head_size, c.causal,
                     c.window, static_cast<int>(c.visible), c.dropout);
}

// Documents: runs of 1, 2, 3, ... tokens, each seeing only itself. Ragged: any interval, empty,
// reversed and out-of-range ones among them.
Tensor visibility(const Case& c) {
  Tensor tensor({DType::int32, {c.batch, c.queries, 2}});
  const CounterRng rng(77, 0, 0);
  for (std::int64_t b = 0; b < c.batch; ++b) {
    std::int64_t start = 0, length = 1 + b;
    for (std::int64_t t = 0; t < c.queries; ++t) {
      const std::int64_t i = (b * c.queries + t) * 2;
      if (c.visible == Visible::documents) {
        if (t - start == length) start = t, length = length * 2 + 1;
        tensor.set(i, static_cast<double>(start));
        tensor.set(i + 1, static_cast<double>(std::min(start + length, c.keys)));
      } else {
        const auto range = static_cast<std::uint32_t>(c.keys + 6);
        tensor.set(i, static_cast<double>(rng.word(i) % range) - 3);
        tensor.set(i + 1, static_cast<double>(rng.word(i + 1) % range) - 3);
      }
    }
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

// Dense attention of one (sequence, head) at a time in fp64.
class Dense {
 public:
  Dense(const Case& c, const Operands& operands)
      : c_(c),
        operands_(operands),
        q_(values(*operands[0])),
        k_(values(*operands[1])),
        v_(values(*operands[2])) {}

  bool sees(std::int64_t b, std::int64_t t, std::int64_t s) const {
    const std::int64_t diagonal = t + c_.keys - c_.queries;
    if (c_.causal && s > diagonal) return false;
    if (c_.window > 0 && s <= diagonal - c_.window) return false;
    if (!operands_[3]) return true;
    const std::int64_t i = (b * c_.queries + t) * 2;
    return s >= operands_[3]->get(i) && s < operands_[3]->get(i + 1);
  }

  std::int64_t q(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return ((b * c_.queries + t) * c_.heads + h) * c_.head_size;
  }
  std::int64_t k(std::int64_t b, std::int64_t s, std::int64_t h) const {
    return ((b * c_.keys + s) * c_.key_heads + h * c_.key_heads / c_.heads) * c_.head_size;
  }
  using Values = std::vector<double>;
  static Values values(const Tensor& tensor) {
    Values list(static_cast<std::size_t>(tensor.size()));
    for (std::int64_t i = 0; i < tensor.size(); ++i) list[i] = tensor.get(i);
    return list;
  }
  double dot(const Values& x, std::int64_t i, const Values& y, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t d = 0; d < c_.head_size; ++d) sum += x[i + d] * y[j + d];
    return sum;
  }

  // Weights of query t over the keys, and their log-sum-exp.
  std::vector<double> weights(std::int64_t b, std::int64_t h, std::int64_t t, double* lse) const {
    std::vector<double> w(static_cast<std::size_t>(c_.keys), 0.0);
    const double scale = c_.attributes().real("scale");
    double top = -INFINITY, sum = 0;
    for (std::int64_t s = 0; s < c_.keys; ++s) {
      w[s] = sees(b, t, s) ? scale * dot(q_, q(b, t, h), k_, k(b, s, h)) : -INFINITY;
      top = std::max(top, w[s]);
    }
    for (double& x : w) sum += x = top == -INFINITY ? 0.0 : std::exp(x - top);
    for (double& x : w) x = sum == 0 ? 0 : x / sum;
    *lse = sum == 0 ? -INFINITY : top + std::log(sum);
    return w;
  }

  // What dropout multiplies the weight of (t, s) by.
  double kept(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) const {
    if (c_.dropout == 0) return 1;
    const kernels::DropoutMask mask(operands_[4]->as<std::int64_t>(), 5, c_.dropout);
    const auto index = kernels::attention_dropout_index(b, h, t, s, c_.heads, c_.queries, c_.keys);
    return mask.keep(index) ? kernels::keep_scale(c_.dropout) : 0;
  }

  std::vector<Tensor> forward() const {
    Tensor o({DType::fp64, c_.query_shape()}), lse({DType::fp64, c_.lse_shape()});
    each_query([&](std::int64_t b, std::int64_t h, std::int64_t t) {
      double value = 0;
      const auto w = weights(b, h, t, &value);
      lse.set((b * c_.heads + h) * c_.queries + t, value);
      double* row = o.as<double>() + q(b, t, h);
      for (std::int64_t s = 0; s < c_.keys; ++s) {
        add(row, w[s] * kept(b, h, t, s), v_, k(b, s, h));
      }
    });
    return {o, lse};
  }

  std::vector<Tensor> backward(const Tensor& d_o) const {
    const Values grad = values(d_o);
    Tensor dq({DType::fp64, c_.query_shape()}), dk({DType::fp64, c_.key_shape()}),
        dv({DType::fp64, c_.key_shape()});
    const double scale = c_.attributes().real("scale");
    each_query([&](std::int64_t b, std::int64_t h, std::int64_t t) {
      double lse = 0, delta = 0;
      const auto w = weights(b, h, t, &lse);
      std::vector<double> dw(w.size());
      for (std::int64_t s = 0; s < c_.keys; ++s) {
        dw[s] = kept(b, h, t, s) * dot(grad, q(b, t, h), v_, k(b, s, h));
        delta += w[s] * dw[s];
      }
      for (std::int64_t s = 0; s < c_.keys; ++s) {
        const double ds = scale * w[s] * (dw[s] - delta);
        add(dv.as<double>() + k(b, s, h), w[s] * kept(b, h, t, s), grad, q(b, t, h));
        add(dq.as<double>() + q(b, t, h), ds, k_, k(b, s, h));
        add(dk.as<double>() + k(b, s, h), ds, q_, q(b, t, h));
      }
    });
    return {dq, dk, dv};
  }

 private:
  template <typename Body>
  void each_query(const Body& body) const {
    for (std::int64_t b = 0; b < c_.batch; ++b) {
      for (std::int64_t h = 0; h < c_.heads; ++h) {
        for (std::int64_t t = 0; t < c_.queries; ++t) body(b, h, t);
      }
    }
  }
  void add(double* row, double factor, const Values& x, std::int64_t i) const {
    for (std::int64_t d = 0; d < c_.head_size; ++d) row[d] += factor * x[i + d];
  }

  const Case& c_;
  const Operands& operands_;
  Values q_, k_, v_;
};

KernelRun run_forward(const Case& c, const Operands& operands, std::size_t misalign = 0) {
  const DType dtype = operands[0]->type().dtype;
  return run_kernel(kernels::cpu::attention, operands,
                    {{dtype, c.query_shape()}, {DType::fp32, c.lse_shape()}}, c.attributes(),
                    misalign);
}

// The backward operands that belong to forward ones; o and lse come from the kernel under test, as
// they do in a step.
Operands backward_operands(const Case& c, const Operands& forward) {
  const DType dtype = forward[0]->type().dtype;
  const KernelRun run = run_forward(c, forward);
  Operands operands{normal({dtype, c.query_shape()}, 4)};
  operands.insert(operands.end(), forward.begin(), forward.begin() + 3);
  operands.insert(operands.end(), run.results.begin(), run.results.end());
  operands.insert(operands.end(), forward.begin() + 3, forward.end());
  return operands;
}

KernelRun run_backward(const Case& c, const Operands& operands, std::size_t misalign = 0) {
  const DType dtype = operands[0]->type().dtype;
  return run_kernel(kernels::cpu::attention_grad, operands,
                    {{dtype, c.query_shape()}, {dtype, c.key_shape()}, {dtype, c.key_shape()}},
                    c.attributes(), misalign);
}

// bf16 stores round to 2^-9, and delta then sees a rounded o. In fp32 an error of the scores, which
// grows with them, is an error of the weights.
double tolerance(const Case& c, DType dtype) {
  return dtype == DType::bf16 ? 1.2e-2 : 2e-6 * std::max(1.0, c.deviation);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> list = {
      {1, 1, 1, 1, 1, 8},
      {2, 7, 7, 2, 1, 16},
      {1, 64, 64, 2, 2, 64},
      {1, 129, 129, 2, 1, 40},
      {2, 65, 65, 4, 2, 80},
      {1, 130, 130, 1, 1, 128},
      {1, 33, 33, 1, 1, 1},
      {1, 20, 20, 1, 1, 256},
      {1, 70, 70, 3, 1, 23},
      // other lengths of queries and keys: a cache, and queries before the first key
      {2, 1, 129, 4, 2, 64},
      {1, 7, 200, 2, 2, 64},
      {1, 100, 30, 2, 1, 16},
      {1, 64, 129, 6, 2, 40, false},
      {1, 129, 64, 1, 1, 8, false},
      {1, 1, 7, 2, 2, 16, false},
      // windows
      {1, 129, 129, 2, 1, 16, true, 1},
      {1, 200, 200, 2, 2, 40, true, 50},
      {1, 129, 129, 1, 1, 64, false, 17},
      {1, 7, 150, 1, 1, 64, true, 100},
      // packed documents
      {3, 200, 200, 2, 1, 64, true, 0, Visible::documents},
      {2, 200, 200, 2, 2, 16, false, 0, Visible::documents},
      {1, 129, 129, 2, 1, 40, true, 13, Visible::documents},
      {2, 140, 140, 2, 1, 64, false, 0, Visible::ragged},
      {2, 140, 170, 2, 2, 80, true, 60, Visible::ragged},
      // dropout, with and without whole Philox blocks of keys
      {2, 132, 132, 4, 2, 64, true, 0, Visible::all, 0.1},
      {1, 129, 129, 2, 1, 16, true, 0, Visible::documents, 0.5},
      {1, 7, 150, 1, 1, 40, false, 0, Visible::all, 0.3},
      // sharp
      {1, 129, 129, 2, 2, 64, true, 0, Visible::all, 0, 5},
  };
  return list;
}

class AttentionTest : public ::testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(AttentionTest, ForwardAgreesWithDense) {
  for (const Case& c : cases()) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      SCOPED_TRACE(describe(c) + " " + std::string(name_of(dtype)));
      const Operands operands = forward_operands(c, dtype);
      const KernelRun run = run_forward(c, operands);
      ASSERT_FALSE(run.declined) << *run.declined;
      const std::vector<Tensor> dense = Dense(c, operands).forward();
      EXPECT_LE(relative_difference(run.results[0], dense[0]), tolerance(c, dtype)) << "o";
      EXPECT_LE(relative_difference(run.results[1], dense[1]), 3e-6) << "lse";
    }
  }
}

TEST_P(AttentionTest, BackwardAgreesWithDense) {
  for (const Case& c : cases()) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      SCOPED_TRACE(describe(c) + " " + std::string(name_of(dtype)));
      const Operands forward = forward_operands(c, dtype);
      const Operands operands = backward_operands(c, forward);
      const KernelRun run = run_backward(c, operands);
      ASSERT_FALSE(run.declined) << *run.declined;
      const std::vector<Tensor> dense = Dense(c, forward).backward(*operands[0]);
      for (int i = 0; i < 3; ++i) {
        const double difference = relative_difference(run.results[i], dense[i]);
        EXPECT_LE(difference, tolerance(c, dtype)) << "result " << i;
      }
    }
  }
}

// Operands and results that start one element past a cache line: the same bits.
TEST_P(AttentionTest, TakesMisalignedBuffers) {
  const Case c{1, 70, 70, 2, 1, 40, true, 0, Visible::documents};
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    Operands forward = forward_operands(c, dtype);
    const Operands backward = backward_operands(c, forward);
    Operands forward_shifted = forward, backward_shifted = backward;
    for (Operands* operands : {&forward_shifted, &backward_shifted}) {
      for (auto& operand : *operands) {
        if (!operand) continue;
        Tensor shifted(operand->type(), 1);
        std::memcpy(shifted.data(), operand->data(), operand->type().bytes());
        operand.emplace(shifted);
      }
    }
    const KernelRun o = run_forward(c, forward), o_shifted = run_forward(c, forward_shifted, 1);
    const KernelRun d = run_backward(c, backward), d_shifted = run_backward(c, backward_shifted, 3);
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(same_bits(o.results[i], o_shifted.results[i])) << i;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(d.results[i], d_shifted.results[i])) << i;
  }
}

// A loss that is not finite must show: NaN in one query reaches its output and nothing before it.
TEST_P(AttentionTest, NotANumberPropagates) {
  const Case c{1, 80, 80, 1, 1, 16};
  Operands operands = forward_operands(c, DType::fp32);
  operands[0]->set(70 * 16 + 3, NAN);
  const KernelRun run = run_forward(c, operands);
  EXPECT_TRUE(std::isnan(run.results[0].get(70 * 16)));
  EXPECT_TRUE(std::isnan(run.results[1].get(70)));
  EXPECT_TRUE(std::isfinite(run.results[0].get(69 * 16)));
  EXPECT_TRUE(std::isfinite(run.results[0].get(71 * 16)));
}

std::string target_name(const ::testing::TestParamInfo<std::int64_t>& info) {
  return hwy::TargetName(info.param);
}

// The targets that the kernels are compiled for and this machine has.
std::vector<std::int64_t> targets() {
  constexpr std::int64_t kCompiled = HWY_AVX3 | HWY_AVX2 | HWY_STATIC_TARGET;
  std::vector<std::int64_t> list;
  for (std::int64_t mask = (hwy::SupportedTargets() | HWY_STATIC_TARGET) & kCompiled; mask != 0;
       mask &= mask - 1) {
    list.push_back(mask & -mask);
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Targets, AttentionTest, ::testing::ValuesIn(targets()), target_name);

// Restores the thread count of the process.
class ThreadCount {
 public:
  ThreadCount() : before_(thread_count()) {}
  ~ThreadCount() { set_thread_count(before_); }

 private:
  int before_;
};

TEST(Attention, AnyThreadCountGivesTheSameBits) {
  const ThreadCount restore;
  const std::vector<Case> shapes = {{1, 300, 300, 2, 1, 64},
                                    {2, 260, 260, 6, 3, 40, true, 0, Visible::documents},
                                    {1, 129, 400, 1, 1, 64, false},
                                    {1, 300, 300, 1, 1, 16, true, 0, Visible::all, 0.2}};
  for (const Case& c : shapes) {
    SCOPED_TRACE(describe(c));
    set_thread_count(1);
    const Operands forward = forward_operands(c, DType::fp32);
    const Operands backward = backward_operands(c, forward);
    const KernelRun o = run_forward(c, forward), d = run_backward(c, backward);
    for (const int threads : {2, 3, 7}) {
      set_thread_count(threads);
      const KernelRun o_more = run_forward(c, forward), d_more = run_backward(c, backward);
      for (int i = 0; i < 2; ++i) EXPECT_TRUE(same_bits(o.results[i], o_more.results[i])) << i;
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(d.results[i], d_more.results[i])) << i;
    }
  }
}

// A query that sees no key: o = 0, lse = -inf, and no gradient in or out of it.
TEST(Attention, BlindQueries) {
  const Case c{1, 5, 3, 1, 1, 16};  // causal: queries 0 and 1 come before the first key
  const Operands forward = forward_operands(c, DType::fp32);
  const KernelRun run = run_forward(c, forward);
  const Operands backward = backward_operands(c, forward);
  const KernelRun grads = run_backward(c, backward);
  for (std::int64_t i = 0; i < 2 * 16; ++i) {
    EXPECT_EQ(run.results[0].get(i), 0);
    EXPECT_EQ(grads.results[0].get(i), 0);
  }
  EXPECT_EQ(run.results[1].get(0), -INFINITY);
  EXPECT_EQ(run.results[1].get(1), -INFINITY);
  EXPECT_TRUE(std::isfinite(run.results[1].get(2)));
}

TEST(Attention, DeclinesWithAReason) {
  const Case wide{1, 4, 4, 1, 1, 300}, narrow{1, 4, 4, 1, 1, 8};
  Operands operands = forward_operands(wide, DType::fp32);
  EXPECT_EQ(run_forward(wide, operands).declined, "head size 300: takes 1 to 256");
  operands = forward_operands(narrow, DType::fp64);
  EXPECT_EQ(run_forward(narrow, operands).declined, "dtype fp64: takes fp32 and bf16");
  Case dropping = narrow;
  operands = forward_operands(narrow, DType::fp32);
  dropping.dropout = 0.5;
  EXPECT_EQ(run_forward(dropping, operands).declined, "dropout without a counter");
}

}  // namespace
}  // namespace bessemer::testing

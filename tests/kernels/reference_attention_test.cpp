#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

struct Case {
  const char* name;
  std::int64_t batch, queries, keys, heads, key_heads, head_size;
  Attributes attributes;
  std::vector<double> visibility = {};  // of one sequence; the same for all
};

const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"all", 1, 4, 4, 2, 2, 3, {}},
      {"causal", 2, 5, 5, 2, 2, 3, {{"causal", true}}},
      {"grouped", 1, 4, 4, 4, 2, 2, {{"causal", true}}},
      {"one key head", 1, 3, 3, 3, 1, 2, {{"causal", true}}},
      {"more keys than queries", 1, 2, 5, 2, 1, 2, {{"causal", true}}},
      {"fewer keys than queries", 1, 5, 3, 1, 1, 2, {{"causal", true}}},
      {"window", 1, 6, 6, 1, 1, 2, {{"causal", true}, {"window", std::int64_t{2}}}},
      {"window, not causal", 1, 5, 5, 1, 1, 2, {{"window", std::int64_t{3}}}},
      {"documents", 2, 5, 5, 2, 1, 2, {{"causal", true}}, {0, 5, 0, 5, 2, 5, 2, 5, 4, 5}},
      {"an empty interval", 1, 3, 3, 1, 1, 2, {}, {0, 3, 1, 1, 2, 3}},
      {"dropout", 2, 4, 4, 4, 2, 2, {{"dropout", 0.4}, {"site", std::int64_t{3}}}},
      {"everything",
       1,
       6,
       7,
       2,
       1,
       3,
       {{"causal", true}, {"window", std::int64_t{4}}, {"dropout", 0.3}, {"site", std::int64_t{9}}},
       {0, 7, 0, 7, 0, 7, 0, 7, 3, 7, 3, 6}},
  };
  return table;
}

Forward forward_of(const Case& c) {
  const TensorType q = fp64({c.batch, c.queries, c.heads, c.head_size});
  const TensorType k = fp64({c.batch, c.keys, c.key_heads, c.head_size});
  Forward forward{reference::attention,
                  {normal(q, 1), normal(k, 2), normal(k, 3), std::nullopt, std::nullopt},
                  {q, fp64({c.batch, c.heads, c.queries})},
                  c.attributes};
  forward.attributes.set("scale", 0.7);
  if (!c.visibility.empty()) {
    Tensor visibility({DType::int32, {c.batch, c.queries, 2}});
    for (std::int64_t i = 0; i < visibility.size(); ++i) {
      visibility.set(i, c.visibility[static_cast<std::size_t>(i) % c.visibility.size()]);
    }
    forward.operands[3] = visibility;
  }
  if (forward.attributes.find("dropout") != nullptr) {
    forward.operands[4] = of({DType::int64, {3}}, {42, 7, 1});
  }
  return forward;
}

std::vector<Tensor> gradients(const Forward& forward, const Tensor& d_o) {
  const auto results = forward.run();
  const Operands& f = forward.operands;
  return run_kernel(reference::attention_grad,
                    {d_o, f[0], f[1], f[2], results[0], results[1], f[3], f[4]},
                    {f[0]->type(), f[1]->type(), f[2]->type()}, forward.attributes)
      .results;
}

// torch 2.15, scaled_dot_product_attention in fp64 with the two heads sharing one key head; the
// mask is causal with the last query on the last key.
TEST(ReferenceAttention, AgreesWithTorch) {
  const Tensor q = of(fp64({1, 2, 2, 2}), {1, 0, 0.5, -1, 2, 1, -1, 0.25});
  const Tensor k = of(fp64({1, 3, 1, 2}), {0, 1, 1, 1, -0.5, 2});
  const Tensor v = of(fp64({1, 3, 1, 2}), {1, -1, 0, 3, 2, 0.5});
  const auto results = run_kernel(reference::attention, {q, k, v}, {q.type(), fp64({1, 2, 2})},
                                  {{"scale", 0.7}, {"causal", true}})
                           .results;
  const Tensor o = of(
      q.type(), {0.33181222783183395, 1.6727510886726646, 0.41338242108266998, 1.3464703156693205,
                 0.49544193691810989, 1.9265424700107621, 1.3746021352652449, 0.4188788331202119});
  const Tensor lse = of(fp64({1, 2, 2}), {1.1031860488854579, 2.5009174015373077, 0.183382155418777,
                                          1.33409388917372});
  EXPECT_LT(relative_difference(results[0], o), 1e-15);
  EXPECT_LT(relative_difference(results[1], lse), 1e-15);
}

// With one-hot values the output of a query is its row of probabilities.
TEST(ReferenceAttention, SeesExactlyWhatTheConditionsAllow) {
  const std::int64_t keys = 7;
  Tensor v(fp64({1, keys, 1, keys}));
  for (std::int64_t s = 0; s < keys; ++s) v.set(s * keys + s, 1);
  for (const Case& c : cases()) {
    if (c.keys != keys) continue;
    Forward forward = forward_of(c);
    forward.attributes.erase("dropout");
    const TensorType q = fp64({1, c.queries, c.heads, keys});
    forward.operands = {normal(q, 1), normal(v.type(), 2), v, forward.operands[3], std::nullopt};
    forward.results[0] = q;
    const Tensor p = forward.run()[0];
    for (std::int64_t t = 0; t < c.queries; ++t) {
      double sum = 0;
      for (std::int64_t s = 0; s < keys; ++s) {
        const auto bounds = static_cast<std::size_t>(2 * t);
        const std::int64_t diagonal = t + keys - c.queries;
        const bool sees = s <= diagonal && s > diagonal - 4 &&
                          static_cast<double>(s) >= c.visibility[bounds] &&
                          static_cast<double>(s) < c.visibility[bounds + 1];
        const double probability = p.get(t * c.heads * keys + s);
        EXPECT_EQ(probability > 0, sees) << c.name << " query " << t << " key " << s;
        sum += probability;
      }
      EXPECT_NEAR(sum, 1, 1e-14);
    }
  }
}

TEST(ReferenceAttention, AQueryThatSeesNothingGivesZeroAndItsGradientIsZero) {
  for (const Case& c : cases()) {
    if (std::string(c.name) != "an empty interval" &&
        std::string(c.name) != "fewer keys than queries") {
      continue;
    }
    const Forward forward = forward_of(c);
    const auto results = forward.run();
    const std::int64_t blind = std::string(c.name) == "an empty interval" ? 1 : 0;
    EXPECT_EQ(results[1].get(blind), -INFINITY) << c.name;
    const auto gradient = gradients(forward, normal(results[0].type(), 4));
    for (std::int64_t d = 0; d < c.head_size; ++d) {
      EXPECT_EQ(results[0].get(blind * c.head_size + d), 0) << c.name;
      EXPECT_EQ(gradient[0].get(blind * c.head_size + d), 0) << c.name;
    }
  }
}

// Head h reads key head h * K / H: the same as each key head written out H / K times in a row.
TEST(ReferenceAttention, NeighbouringHeadsShareAKeyHead) {
  const TensorType many = fp64({1, 3, 4, 2});
  const Tensor q = normal(many, 1);
  const Tensor k = normal(fp64({1, 3, 2, 2}), 2), v = normal(k.type(), 3);
  Tensor every_k(many), every_v(many);
  for (std::int64_t i = 0; i < every_k.size(); ++i) {
    const std::int64_t token = i / 8, head = i / 2 % 4, d = i % 2;
    const std::int64_t source = (token * 2 + head / 2) * 2 + d;
    every_k.set(i, k.get(source));
    every_v.set(i, v.get(source));
  }
  const auto run = [&](const Tensor& keys, const Tensor& values) {
    return run_kernel(reference::attention, {q, keys, values}, {many, fp64({1, 4, 3})},
                      {{"scale", 0.7}})
        .results[0];
  };
  EXPECT_TRUE(same_bits(run(k, v), run(every_k, every_v)));
}

TEST(ReferenceAttention, HugeScoresStayFinite) {
  const TensorType type = fp64({1, 2, 1, 1});
  const Tensor q = of(type, {1e4, -1e4}), k = of(type, {1, 2}), v = of(type, {3, 5});
  const auto results =
      run_kernel(reference::attention, {q, k, v}, {type, fp64({1, 1, 2})}, {{"scale", 1.0}})
          .results;
  EXPECT_TRUE(same_bits(results[0], of(type, {5, 3})));
  EXPECT_TRUE(same_bits(results[1], of(fp64({1, 1, 2}), {2e4, -1e4})));
}

TEST(ReferenceAttention, DropoutKeepsTheExpectationAndTheMaskOfItsCounter) {
  const std::int64_t n = 200;  // equal scores, values one: the output is the mean multiplier
  const TensorType type = fp64({1, n, 1, 1});
  Tensor ones(type);
  for (std::int64_t i = 0; i < n; ++i) ones.set(i, 1);
  const auto run = [&](double seed, std::int64_t site) {
    return run_kernel(reference::attention,
                      {Tensor(type), Tensor(type), ones, std::nullopt,
                       of({DType::int64, {3}}, {seed, 0, 0})},
                      {type, fp64({1, 1, n})}, {{"scale", 1.0}, {"dropout", 0.25}, {"site", site}})
        .results[0];
  };
  const Tensor o = run(1, 1);
  double mean = 0;
  for (std::int64_t i = 0; i < n; ++i) mean += o.get(i) / static_cast<double>(n);
  // A multiplier has variance p / (1 - p) = 1/3; there are n * n of them.
  EXPECT_NEAR(mean, 1, 5 * std::sqrt(1.0 / 3) / static_cast<double>(n));
  EXPECT_TRUE(same_bits(o, run(1, 1)));
  EXPECT_FALSE(same_bits(o, run(2, 1)));
  EXPECT_FALSE(same_bits(o, run(1, 2)));
}

TEST(ReferenceAttention, DropoutWithoutACounterIsRefused) {
  Forward forward = forward_of(cases()[0]);
  forward.attributes.set("dropout", 0.5);
  EXPECT_THROW(forward.run(), Error);
}

TEST(ReferenceAttentionGrad, AgreesWithDifferences) {
  for (const Case& c : cases()) {
    const Forward forward = forward_of(c);
    const Tensor d_o = normal(forward.results[0], 4);
    const auto gradient = gradients(forward, d_o);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_LT(relative_difference(gradient[i], numeric_gradient(forward, i, d_o)),
                kGradientTolerance)
          << c.name << " operand " << i;
    }
  }
}

}  // namespace
}  // namespace bessemer::kernels

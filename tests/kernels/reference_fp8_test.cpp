// What the reference does with fp8, by hand-made definitions.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "kernels/reference/reference.h"
#include "support/kernel_runner.h"

namespace bessemer::kernels {
namespace {

using testing::normal;
using testing::of;
using testing::run_kernel;
using testing::Tensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TensorType fp32(Shape shape) { return {DType::fp32, std::move(shape)}; }
TensorType e4m3(Shape shape) { return {DType::fp8_e4m3, std::move(shape)}; }
TensorType e5m2(Shape shape) { return {DType::fp8_e5m2, std::move(shape)}; }

Attributes quantizing(const char* format, const char* block, bool transposed = false,
                      bool measure = false) {
  return {{"format", std::string(format)},
          {"block", std::string(block)},
          {"transposed", transposed},
          {"measure", measure}};
}

void expect_values(const Tensor& tensor, const std::vector<double>& values) {
  ASSERT_EQ(tensor.size(), static_cast<std::int64_t>(values.size()));
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    EXPECT_EQ(tensor.get(i), values[static_cast<std::size_t>(i)]) << "element " << i;
  }
}

TEST(ReferenceAmax, IsTheLargestMagnitudeAndKeepsNaN) {
  const auto amax = [](const std::vector<double>& values) {
    const Tensor x = of(fp32({static_cast<std::int64_t>(values.size())}), values);
    return run_kernel(reference::amax, {x}, {fp32({})}).results[0].get(0);
  };
  EXPECT_EQ(amax({1, -3, 2}), 3);
  EXPECT_EQ(amax({}), 0);
  EXPECT_EQ(amax({1, -kInfinity}), kInfinity);
  EXPECT_TRUE(std::isnan(amax({1, std::nan(""), 5})));
}

TEST(ReferenceQuantizeFp8, OneScaleServesTheTensor) {
  const Tensor x = of(fp32({2, 3}), {-1, 0.5, 3, 0, 100, 0.001});
  const auto results = run_kernel(reference::quantize_fp8, {x, of(fp32({}), {1.75})},
                                  {e4m3({2, 3}), fp32({}), e4m3({3, 2}), fp32({1})},
                                  quantizing("e4m3", "tensor", true, true))
                           .results;
  // amax 1.75 means scale 1/256. 3 and 100 are beyond it; 0.256 is rounded to 2^-2.
  expect_values(results[0], {-256, 128, 448, 0, 448, 0.25});
  expect_values(results[1], {1.0 / 256});
  expect_values(results[2], {-256, 0, 128, 448, 448, 0.25});
  expect_values(results[3], {100});
}

TEST(ReferenceQuantizeFp8, ScalesOfZeroAndOfTheSmallestAreFinite) {
  for (const double amax : {0.0, 1e-45}) {
    const Tensor x = of(fp32({1, 1}), {amax});
    const auto results = run_kernel(reference::quantize_fp8, {x, of(fp32({}), {amax})},
                                    {e5m2({1, 1}), fp32({})}, quantizing("e5m2", "tensor"))
                             .results;
    EXPECT_EQ(results[1].get(0), amax == 0 ? 1 : 0x1p-126);
    EXPECT_NEAR(results[0].get(0) * results[1].get(0), amax, 1e-44);
  }
}

// One number of many; where it is 0, what is assumed.
TEST(ReferenceQuantizeFp8, FollowsAKnownAmax) {
  const auto scale_with = [](std::int64_t index, double assumed) {
    Attributes attributes = quantizing("e4m3", "tensor");
    attributes.set("indices", std::vector<std::int64_t>{index});
    attributes.set("assumed", assumed);
    return run_kernel(reference::quantize_fp8,
                      {of(fp32({1, 1}), {1}), of(fp32({3}), {448, 896, 0})},
                      {e4m3({1, 1}), fp32({})}, attributes)
        .results[1]
        .get(0);
  };
  EXPECT_EQ(scale_with(0, 7), 1);
  EXPECT_EQ(scale_with(1, 7), 2);
  EXPECT_EQ(scale_with(2, 7), 1.0 / 64);
  EXPECT_EQ(scale_with(2, 0), 1);
}

// Whole tiles of 128 x 128 and the ends, row by row of them.
TEST(ReferenceQuantizeFp8, MeasuresTiles) {
  Tensor x(fp32({129, 130}));
  x.set(0, -3);
  x.set(129, 2);
  x.set(128 * 130 + 127, std::nan(""));
  const auto results =
      run_kernel(reference::quantize_fp8, {x, of(fp32({}), {1})},
                 {e4m3({129, 130}), fp32({}), fp32({4})}, quantizing("e4m3", "tensor", false, true))
          .results;
  EXPECT_EQ(results[2].get(0), 3);
  EXPECT_EQ(results[2].get(1), 2);
  EXPECT_TRUE(std::isnan(results[2].get(2)));
  EXPECT_EQ(results[2].get(3), 0);
}

// A number a row and the end of x0 meet it; each value has its own results, maxima stand last.
TEST(ReferenceQuantizeFp8, QuantizesWhatAProgramMakes) {
  Attributes attributes = quantizing("e4m3", "tensor");
  attributes.set("program", std::string("t0 = multiply x0 x1; t1 = add t0 x2; return t1 x0"));
  attributes.set("indices", std::vector<std::int64_t>{1, 0});
  for (const char* more : {"keep", "sum", "measure"}) attributes.set(more, true);
  const TensorType q = e4m3({2, 2}), scale = fp32({}), y = fp32({2, 2}), sum = fp32({2});
  const auto results =
      run_kernel(
          reference::quantize_fp8,
          {of(y, {1, 2, 3, 4}), of(fp32({2, 1}), {10, 1}), of(sum, {0, -0.5}), of(sum, {448, 896})},
          {y, q, scale, sum, y, q, scale, sum, fp32({1}), fp32({1})}, attributes)
          .results;
  expect_values(results[0], {10, 19.5, 3, 3.5});
  expect_values(results[1], {5, 10, 1.5, 1.75});  // 9.75 lies between 9 and 10
  expect_values(results[2], {2});
  expect_values(results[3], {13, 23});
  expect_values(results[4], {1, 2, 3, 4});
  expect_values(results[5], {1, 2, 3, 4});
  expect_values(results[6], {1});
  expect_values(results[7], {4, 6});
  expect_values(results[8], {19.5});
  expect_values(results[9], {4});
}

TEST(ReferenceCollectAmax, TakesTheLargestOfAllMicroBatches) {
  const auto collected = [](const testing::Operands& operands) {
    return run_kernel(reference::collect_amax, operands, {fp32({3})}, {{"size", std::int64_t{3}}})
        .results[0];
  };
  const Tensor two = of(fp32({3}), {1, 2, 0.5}), nan = of(fp32({2}), {std::nan(""), 1});
  expect_values(collected({std::nullopt, two, std::nullopt, of(fp32({1}), {0.5})}), {2, 0, 0.5});
  expect_values(collected({of(fp32({3}), {1, 2, 3}), two, std::nullopt, two}), {2, 2, 3});
  EXPECT_TRUE(std::isnan(collected({of(fp32({3}), {1, 2, kInfinity}), nan, two, two}).get(0)));
  EXPECT_TRUE(std::isnan(collected({of(fp32({3}), {std::nan(""), 2, 3}), two, two, two}).get(0)));
}

TEST(ReferenceAmaxHistory, KeepsTheLastSteps) {
  const Tensor before = of(fp32({3, 2}), {1, 0, 5, 2, 6, 0});
  const auto after = [&](double coefficient) {
    return run_kernel(reference::amax_history,
                      {before, of(fp32({2}), {3, 0.5}), of(fp32({}), {coefficient})},
                      {fp32({3, 2}), fp32({2})})
        .results;
  };
  expect_values(after(0.5)[0], {3, 0.5, 1, 0, 5, 2});
  expect_values(after(0.5)[1], {5, 2});
  expect_values(after(std::nan(""))[0], {1, 0, 5, 2, 6, 0});
  expect_values(after(std::nan(""))[1], {6, 2});
}

TEST(ReferenceQuantizeFp8, WhatIsNotFiniteShows) {
  const auto quantized = [](double value, double amax) {
    const auto results =
        run_kernel(reference::quantize_fp8, {of(fp32({1, 2}), {value, 1}), of(fp32({}), {amax})},
                   {e4m3({1, 2}), fp32({})}, quantizing("e4m3", "tensor"))
            .results;
    return results[0].get(0) * results[1].get(0);
  };
  EXPECT_TRUE(std::isnan(quantized(kInfinity, kInfinity)));
  EXPECT_TRUE(std::isnan(quantized(std::nan(""), std::nan(""))));
  EXPECT_TRUE(std::isnan(quantized(std::nan(""), 1)));
  EXPECT_EQ(quantized(kInfinity, 448), 448) << "saturates under a scale that was given";
}

// Element (i, j) is 2^i in columns below 128 and 4 * 2^i in the others, of a [128, 256] matrix.
TEST(ReferenceQuantizeFp8, BlocksOfARowLieAlongWhatAProductReduces) {
  Tensor x(fp32({128, 256}));
  for (std::int64_t i = 0; i < 128; ++i) {
    for (std::int64_t j = 0; j < 256; ++j) {
      x.set(i * 256 + j, std::ldexp(j < 128 ? 1 : 4, static_cast<int>(i % 8)));
    }
  }
  const auto results =
      run_kernel(reference::quantize_fp8, {x},
                 {e4m3({128, 256}), fp32({2, 128}), e4m3({256, 128}), fp32({1, 256})},
                 quantizing("e4m3", "1x128", true))
          .results;
  for (std::int64_t i = 0; i < 128; ++i) {
    const auto largest = static_cast<float>(std::ldexp(1, static_cast<int>(i % 8)));
    EXPECT_EQ(results[1].get(i), largest / 448.0f) << "row " << i << ", first columns";
    EXPECT_EQ(results[1].get(128 + i), 4 * largest / 448.0f) << "row " << i << ", last columns";
    EXPECT_EQ(results[0].get(i * 256), 448);
    EXPECT_EQ(results[0].get(i * 256 + 200), 448);
    EXPECT_EQ(results[2].get(i), 448 * largest / 128) << "column 0 shares a scale over rows";
  }
  EXPECT_EQ(results[3].get(0), 128.0f / 448.0f);
  EXPECT_EQ(results[3].get(255), 512.0f / 448.0f);
}

TEST(ReferenceQuantizeFp8, SquaresShareAScaleAndPadTheirRowsTo4) {
  const Tensor x = normal(fp32({256, 128}), 7);
  const auto results = run_kernel(reference::quantize_fp8, {x},
                                  {e4m3({256, 128}), fp32({2, 4}), e4m3({128, 256}), fp32({1, 4})},
                                  quantizing("e4m3", "128x128", true))
                           .results;
  for (std::int64_t block = 0; block < 2; ++block) {
    double largest = 0;
    for (std::int64_t i = 0; i < 128 * 128; ++i) {
      largest = std::max(largest, std::abs(x.get(block * 128 * 128 + i)));
    }
    EXPECT_EQ(results[1].get(4 * block), static_cast<float>(largest) / 448.0f);
    EXPECT_EQ(results[3].get(block), results[1].get(4 * block));
    EXPECT_EQ(results[1].get(4 * block + 1), 1) << "pads";
  }
  EXPECT_EQ(results[3].get(3), 1) << "pads";
  for (std::int64_t i = 0; i < 256; ++i) {
    for (std::int64_t j = 0; j < 128; ++j) {
      ASSERT_EQ(results[2].get(j * 256 + i), results[0].get(i * 128 + j));
    }
  }
}

TEST(ReferenceScaledMatmul, MultipliesWhatTheBitsStandFor) {
  const Tensor a = of(e4m3({2, 2}), {1, 2, 3, 4}), b = of(e5m2({3, 2}), {1, 0, 0, 1, 1, -1});
  const auto y = run_kernel(reference::scaled_matmul,
                            {a, of(fp32({}), {0.5}), b, of(fp32({}), {4}),
                             of(fp32({3}), {10, 20, 30}), of(fp32({2, 3}), {1, 2, 3, 4, 5, 6})},
                            {fp32({2, 3})},
                            {{"block_a", std::string("tensor")},
                             {"block_b", std::string("tensor")},
                             {"dtype", std::string("fp32")}})
                     .results[0];
  expect_values(y, {2 + 11, 4 + 22, -2 + 33, 6 + 14, 8 + 25, -2 + 36});
}

// Each block of a and of b is ones, with a power of two as its scale.
TEST(ReferenceScaledMatmul, EachBlockHasItsScale) {
  Tensor a(e4m3({2, 256})), b(e4m3({128, 256}));
  for (std::int64_t i = 0; i < a.size(); ++i) a.set(i, 1);
  for (std::int64_t i = 0; i < b.size(); ++i) b.set(i, 1);
  const auto y =
      run_kernel(reference::scaled_matmul,
                 {a, of(fp32({2, 2}), {1, 2, 4, 8}), b, of(fp32({1, 4}), {16, 32, 0, 0})},
                 {fp32({2, 128})},
                 {{"block_a", std::string("1x128")},
                  {"block_b", std::string("128x128")},
                  {"dtype", std::string("fp32")}})
          .results[0];
  EXPECT_EQ(y.get(0), 128 * (1 * 16 + 4 * 32));
  EXPECT_EQ(y.get(128), 128 * (2 * 16 + 8 * 32));
}

}  // namespace
}  // namespace bessemer::kernels

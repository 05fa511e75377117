// Blocks in 8 bits: the reference by hand, kernels with the reference's very bits, and what the
// format promises about errors and about what is not finite.
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu.h"
#include "kernels/quantized_blocks.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;
using kernels::quantized_width;

TensorType quantized_type(const TensorType& x) {
  TensorType q{DType::int8, x.shape};
  q.shape.back() = quantized_width(x.dim(-1));
  return q;
}

Tensor quantize(const Tensor& x) {
  return run_kernel(reference::quantize_blocks, {x}, {quantized_type(x.type())}).results[0];
}

Tensor dequantize(const Tensor& q, const TensorType& type) {
  return run_kernel(reference::dequantize_blocks, {q}, {type}).results[0];
}

TEST(QuantizedWidth, IsInvertedWhereItIsReached) {
  std::int64_t next = 0;
  for (std::int64_t n = 0; n < 200; ++n) {
    const std::int64_t width = quantized_width(n);
    EXPECT_EQ(kernels::width_before_quantizing(width), n);
    for (; next < width; ++next) EXPECT_EQ(kernels::width_before_quantizing(next), -1) << next;
    ++next;
  }
}

// Elements, then exponents, by the definition.
TEST(QuantizeBlocks, ByHand) {
  struct Row {
    std::vector<double> x;
    std::vector<double> q;
    double exponent;
  };
  const std::vector<Row> rows{
      {{1, -0.5, 0.25, 0}, {64, -32, 16, 0}, 0},
      {{3, 1, -2.5 / 32, 0.5 / 32}, {96, 32, -2, 0}, 1},  // ties go to even: -2.5 -> -2, 0.5 -> 0
      {{1.5 / 32, 2, -1.5 / 32, 0}, {2, 64, -2, 0}, 1},
      {{1.999, -1.999, 1, 0}, {127, -127, 64, 0}, 0},  // 127.9 would be 128
      {{0, 0, 0, 0}, {0, 0, 0, 0}, -120},
      {{0x1p-120, 0x1p-126, 0x1p-140, 0}, {64, 1, 0, 0}, -120},  // below the smallest exponent
      {{0x1p-130, 0x1p-127, 0, 0}, {0, 0, 0, 0}, -120},
      {{0x1.8p127, 0x1p121, 0, 0}, {96, 1, 0, 0}, 127},
  };
  for (const Row& row : rows) {
    const Tensor x = of({DType::fp32, {4}}, row.x);
    const Tensor q = quantize(x);
    ASSERT_EQ(q.type(), (TensorType{DType::int8, {5}}));
    const Tensor back = dequantize(q, x.type());
    for (std::size_t i = 0; i < 4; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      EXPECT_EQ(q.get(at), row.q[i]) << row.x[i];
      EXPECT_EQ(back.get(at), std::ldexp(row.q[i], static_cast<int>(row.exponent) - 6));
    }
    EXPECT_EQ(q.get(4), row.exponent);
  }
}

// Blocks of a row have exponents of their own, those of the next row begin anew.
TEST(QuantizeBlocks, BlocksAreOfRows) {
  Tensor x({DType::fp32, {2, 34}});
  x.set(0, 1);
  x.set(33, 8);
  x.set(34, 0.25);
  const Tensor q = quantize(x);
  ASSERT_EQ(q.type().shape, (Shape{2, 36}));
  EXPECT_EQ(q.get(34), 0);
  EXPECT_EQ(q.get(35), 3);
  EXPECT_EQ(q.get(36 + 34), -2);
  EXPECT_EQ(q.get(36 + 35), -120);
}

// Half a step off at most, a whole one where it is cut to 127; and once is as good as twice.
TEST(QuantizeBlocks, ErrorIsBoundedAndQuantizingAgainChangesNothing) {
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16, DType::fp16}) {
    const TensorType type{dtype, {64, 96}};
    const Tensor x = normal(type, 3), q = quantize(x), back = dequantize(q, type);
    EXPECT_TRUE(same_bits(quantize(back), q));
    double squares = 0, errors = 0;
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const std::int64_t row = i / 96, column = i % 96;
      const double exponent = q.get(row * quantized_width(96) + 96 + column / 32);
      const double step = std::exp2(exponent - 6);
      const bool cut = std::abs(x.get(i)) > 127 * step;
      const double error = std::abs(x.get(i) - back.get(i));
      EXPECT_LE(error, cut ? step : step / 2);
      squares += x.get(i) * x.get(i);
      errors += error * error;
    }
    EXPECT_LT(std::sqrt(errors / squares), 0.01);
    EXPECT_GT(std::sqrt(errors / squares), 0.004);
  }
}

TEST(QuantizeBlocks, WhatIsNotFiniteShowsInItsBlockAndNowhereElse) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const TensorType type{DType::fp32, {3, 70}};
  for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
    Tensor x = normal(type, 5);
    x.set(70 + 40, bad);  // second block of the second row
    const std::pair<PrepareFn, PrepareFn> both[] = {
        {reference::quantize_blocks, reference::dequantize_blocks},
        {cpu::quantize_blocks, cpu::dequantize_blocks}};
    for (const auto& [there, back] : both) {
      const Tensor q = run_kernel(there, {x}, {quantized_type(type)}).results[0];
      const Tensor y = run_kernel(back, {q}, {type}).results[0];
      for (std::int64_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isfinite(y.get(i)), i < 70 + 32 || i >= 70 + 64) << i;
      }
    }
  }
  const Tensor beyond = of({DType::fp64, {2}}, {1e39, 1});
  EXPECT_EQ(quantize(beyond).get(2), kernels::kNotFinite);
}

TEST(QuantizeBlocks, KernelsHaveTheBitsOfTheReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : {Shape{1}, Shape{31}, Shape{32}, Shape{5, 33}, Shape{3, 2, 64},
                               Shape{300, 200}, Shape{4, 0}}) {
      const TensorType type{dtype, shape};
      Tensor x = normal(type, 9);
      for (std::int64_t i = 0; i < x.size(); i += 7) x.set(i, x.get(i) * std::exp2(i % 250 - 140));
      expect_agreement(
          {cpu::quantize_blocks, reference::quantize_blocks, {x}, {quantized_type(type)}},
          "quantize " + to_string(type));
      SweepCase back{cpu::dequantize_blocks, reference::dequantize_blocks, {quantize(x)}, {type}};
      back.tolerance_factor = 0;
      expect_agreement(back, "dequantize " + to_string(type));
    }
  }
}

}  // namespace
}  // namespace bessemer::testing

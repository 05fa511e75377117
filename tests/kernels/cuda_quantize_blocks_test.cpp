// Blocks in 8 bits on a CUDA device: the very bits of the reference.
#include <cmath>
#include <limits>

#include "kernels/cuda/cuda.h"
#include "kernels/quantized_blocks.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

TensorType quantized_type(const TensorType& x) {
  TensorType q{DType::int8, x.shape};
  q.shape.back() = kernels::quantized_width(x.dim(-1));
  return q;
}

void expect_both_ways(const Tensor& x) {
  const TensorType q = quantized_type(x.type());
  expect_same_bits({cuda::quantize_blocks, reference::quantize_blocks, {x}, {q}, {}, {}},
                   "quantize " + to_string(x.type()));
  const Tensor quantized = run_kernel(reference::quantize_blocks, {x}, {q}).results[0];
  expect_same_bits(
      {cuda::dequantize_blocks, reference::dequantize_blocks, {quantized}, {x.type()}, {}, {}},
      "dequantize " + to_string(x.type()));
}

// Rows in whole packs of 8 and of 4 bytes, rows of whole blocks that begin anywhere, and others;
// models' widths among them.
const std::vector<Shape> kShapes{{1},      {31},     {32},      {5, 33},   {3, 2, 64},
                                 {7, 128}, {3, 896}, {6, 1024}, {30, 200}, {4, 0},
                                 {0, 32},  {5, 768}, {1, 4096}, {9, 160}};

class CudaQuantizeBlocks : public CudaTest {};

TEST_F(CudaQuantizeBlocks, HasTheBitsOfTheReference) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const Shape& shape : kShapes) {
      Tensor x = normal({dtype, shape}, 9);
      // Of every size, down to where fp32 has fewer bits and to zeros.
      for (std::int64_t i = 0; i < x.size(); ++i) {
        x.set(i, i / 40 % 9 == 8 ? 0.0 : x.get(i) * std::exp2(i / 24 % 270 - 150));
      }
      expect_both_ways(x);
    }
  }
}

// Halfway between integers, and just where an element is cut to 127.
TEST_F(CudaQuantizeBlocks, RoundsTiesToEven) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const std::int64_t width : {40, 256}) {
      Tensor x({dtype, {2, width}});
      for (std::int64_t i = 0; i < x.size(); ++i) {
        x.set(i, (static_cast<double>(i % 17) + 0.5) * (i % 2 == 0 ? 1 : -1) * 4);
        if (i % 32 == 3) x.set(i, 127.5);
      }
      expect_both_ways(x);
    }
  }
}

TEST_F(CudaQuantizeBlocks, WhatIsNotFiniteIsMarked) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const std::int64_t width : {70, 256, 384}) {
      for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
        Tensor x = normal({dtype, {3, width}}, 5);
        x.set(width + 40, bad);
        x.set(2, 0x1.8p127);
        expect_both_ways(x);
      }
    }
  }
}

TEST_F(CudaQuantizeBlocks, MoreBlocksOfThreadsThanADeviceHasMultiprocessors) {
  expect_both_ways(normal({DType::fp32, {540, 37}}, 3));
}

TEST_F(CudaQuantizeBlocks, OtherDtypesAreDeclined) {
  for (const DType dtype : {DType::fp64, DType::fp16}) {
    const TensorType type{dtype, {4, 32}};
    const KernelRun there =
        run_cuda_kernel(cuda::quantize_blocks, {Tensor(type)}, {quantized_type(type)});
    const KernelRun back =
        run_cuda_kernel(cuda::dequantize_blocks, {Tensor(quantized_type(type))}, {type});
    for (const KernelRun* run : {&there, &back}) {
      ASSERT_TRUE(run->declined);
      EXPECT_NE(run->declined->find(name_of(dtype)), std::string::npos) << *run->declined;
    }
  }
}

}  // namespace
}  // namespace bessemer::testing

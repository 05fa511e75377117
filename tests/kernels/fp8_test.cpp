// Kernels of 8-bit floating point with the reference's very bits, and products near its numbers.
#include "kernels/fp8.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

/// Magnitudes from far below the smallest number of a format to far above the largest, and what is
/// not finite where `wild`.
Tensor spread(const TensorType& type, bool wild) {
  Tensor x = normal(type, 9);
  for (std::int64_t i = 0; i < x.size(); i += 7) x.set(i, x.get(i) * std::exp2(i % 60 - 40));
  if (wild && x.size() > 40) {
    x.set(3, std::numeric_limits<double>::infinity());
    x.set(38, -std::nan(""));
  }
  return x;
}

std::vector<TensorType> quantized_types(const TensorType& x, const Attributes& attributes) {
  const auto block = *kernels::parse_fp8_block(attributes.text("block"));
  const DType format = *kernels::parse_fp8_format(attributes.text("format"));
  const kernels::MatrixSize size = kernels::matrix_size(x), turned{size.columns, size.rows};
  std::vector<TensorType> types{{format, x.shape},
                                {DType::fp32, kernels::fp8_scale_shape(block, size)}};
  if (attributes.boolean("transposed", false)) {
    types.push_back({format, {turned.rows, turned.columns}});
    if (block != kernels::Fp8Block::tensor) {
      types.push_back({DType::fp32, kernels::fp8_scale_shape(block, turned)});
    }
  }
  if (attributes.boolean("measure", false))
    types.push_back({DType::fp32, {kernels::fp8_tiles(size)}});
  return types;
}

void expect_same_codes(const Operands& operands, const Attributes& attributes) {
  const std::string what = to_string(operands[0]->type()) + " " + to_string(attributes);
  expect_agreement({cpu::quantize_fp8, reference::quantize_fp8, operands,
                    quantized_types(operands[0]->type(), attributes), attributes},
                   what);
}

struct Form {
  const char* block;
  std::vector<Shape> shapes;
};

TEST(Fp8, CodesAreThoseOfTheReference) {
  const Form forms[] = {{"tensor", {{1, 1}, {3, 131}, {2, 70, 129}, {256, 128}}},
                        {"1x128", {{128, 128}, {2, 64, 256}}},
                        {"128x128", {{128, 256}, {384, 128}}}};
  for (const DType dtype : fast_dtypes()) {
    for (const char* format : {"e4m3", "e5m2"}) {
      for (const auto& [block, shapes] : forms) {
        for (const Shape& shape : shapes) {
          Operands operands{spread({dtype, shape}, true)};
          if (std::string(block) == "tensor") operands.emplace_back(of({DType::fp32, {}}, {1.5}));
          for (const bool more : {false, true}) {
            expect_same_codes(operands, {{"format", std::string(format)},
                                         {"block", std::string(block)},
                                         {"transposed", more},
                                         {"measure", more}});
          }
        }
      }
    }
  }
}

TEST(Fp8, AmaxIsThatOfTheReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{3, 7001}, Shape{40000}}) {
      for (const bool wild : {false, true}) {
        const Tensor x = spread({dtype, shape}, wild);
        SweepCase same{cpu::amax, reference::amax, {x}, {{DType::fp32, {}}}};
        same.tolerance_factor = 0;
        expect_agreement(same, to_string(x.type()));
      }
    }
  }
}

TEST(Fp8, ScalesByAKnownAmaxAsTheReference) {
  for (const std::int64_t index : {0, 1}) {
    expect_same_codes({spread({DType::bf16, {3, 131}}, true), of({DType::fp32, {2}}, {0, 1.5})},
                      {{"format", std::string("e4m3")},
                       {"block", std::string("tensor")},
                       {"indices", std::vector<std::int64_t>{index}},
                       {"assumed", 2.5},
                       {"measure", true}});
  }
}

const TensorType kScalar{DType::fp32, {}}, kTensors{DType::fp32, {3}}, kSteps{DType::fp32, {4, 3}};

TEST(Fp8, CollectsWhatTheReferenceDoes) {
  const Tensor two = of(kScalar, {2}), nan = of(kScalar, {std::nan("")});
  const Attributes size{{"size", std::int64_t{3}}};
  for (const Operands& operands :
       {Operands{std::nullopt, two, std::nullopt, nan},
        Operands{of(kTensors, {1, std::nan(""), 3}), two, two, std::nullopt}}) {
    SweepCase same{cpu::collect_amax, reference::collect_amax, operands, {kTensors}, size};
    same.tolerance_factor = 0;
    expect_agreement(same, "apart");
    if (!operands[0]) continue;
    same.share = {{0, 0}};
    expect_agreement(same, "in place");
  }
}

TEST(Fp8, HistoryIsThatOfTheReference) {
  Tensor history = normal(kSteps, 3), collected = normal(kTensors, 4);
  for (Tensor* tensor : {&history, &collected}) {
    for (std::int64_t i = 0; i < tensor->size(); ++i) tensor->set(i, std::abs(tensor->get(i)));
  }
  for (const double coefficient : {0.5, std::nan("")}) {
    SweepCase same{cpu::amax_history,
                   reference::amax_history,
                   {history, collected, of(kScalar, {coefficient})},
                   {kSteps, kTensors}};
    same.tolerance_factor = 0;
    expect_agreement(same, "apart");
    same.share = {{0, 0}};
    expect_agreement(same, "in place");
  }
}

void push_fp8(Operands& operands, const Shape& shape, const char* format, const char* block) {
  const Tensor x = normal({DType::fp32, shape}, operands.size() + 3);
  Operands from{x};
  const bool whole = std::string(block) == "tensor";
  if (whole) from.emplace_back(run_kernel(reference::amax, {x}, {{DType::fp32, {}}}).results[0]);
  const Attributes attributes{{"format", std::string(format)}, {"block", std::string(block)}};
  const auto types = quantized_types(x.type(), attributes);
  for (Tensor& made : run_kernel(reference::quantize_fp8, from, types, attributes).results) {
    operands.emplace_back(std::move(made));
  }
}

TEST(Fp8, ProductsAreNearThoseOfTheReference) {
  struct Case {
    const char *block_a, *block_b, *format_a;
    Shape a, b;
  };
  const Case cases[] = {{"tensor", "tensor", "e4m3", {1, 48}, {16, 48}},
                        {"tensor", "tensor", "e5m2", {3, 21, 131}, {67, 131}},
                        {"1x128", "128x128", "e4m3", {2, 70, 384}, {256, 384}},
                        {"1x128", "1x128", "e5m2", {33, 256}, {70, 256}}};
  for (const Case& c : cases) {
    for (const char* dtype : {"bf16", "fp32"}) {
      Operands operands;
      push_fp8(operands, c.a, c.format_a, c.block_a);
      push_fp8(operands, c.b, "e4m3", c.block_b);
      const Attributes attributes{{"block_a", std::string(c.block_a)},
                                  {"block_b", std::string(c.block_b)},
                                  {"dtype", std::string(dtype)}};
      TensorType y{*parse_dtype(dtype), c.a};
      y.shape.back() = c.b[0];
      operands.emplace_back(normal({DType::fp32, {c.b[0]}}, 11));
      operands.emplace_back(normal(y, 12));
      SweepCase sweep{cpu::scaled_matmul, reference::scaled_matmul, operands, {y}, attributes};
      sweep.tolerance_factor = 4;
      expect_agreement(sweep, to_string(y));
      sweep.share = {{0, 5}};
      expect_agreement(sweep, to_string(y) + " in place");
    }
  }
}

}  // namespace
}  // namespace bessemer::testing

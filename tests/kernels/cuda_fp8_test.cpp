// fp8 on a CUDA device: quantizing has the very bits of the reference; products by the device's own
// arithmetic, and by bf16 where it has none, are close to the reference's.
#include <cmath>
#include <limits>

#include "kernels/cuda/cuda.h"
#include "kernels/elementwise_ops.h"
#include "kernels/fp8.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using kernels::Fp8Block;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const char* kBlocks[] = {"tensor", "1x128", "128x128"};

Fp8Block block_of(const std::string& name) { return *kernels::parse_fp8_block(name); }

class CudaFp8 : public CudaTest {};

Tensor of_every_size(const TensorType& type) {
  Tensor x = normal(type, 9);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.set(i, i % 11 == 8 ? 0.0 : x.get(i) * std::exp2(i / 24 % 40 - 30));
  }
  return x;
}

TEST_F(CudaFp8, AmaxIsTheLargestMagnitude) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const Shape& shape : std::vector<Shape>{{}, {0}, {7}, {3, 67}, {4, 4096}, {70, 1024}}) {
      Tensor x = normal({dtype, shape}, 4);
      const auto expect = [&](const std::string& what) {
        expect_same_bits({cuda::amax, reference::amax, {x}, {{DType::fp32, {}}}, {}, {}},
                         what + to_string(x.type()));
      };
      expect("");
      if (x.size() == 0) continue;
      x.set(x.size() - 1, -100);
      expect("the last ");
      x.set(x.size() / 2, -kInfinity);
      expect("an infinity in ");
      x.set(0, std::nan(""));
      const KernelRun run = run_cuda_kernel(cuda::amax, {x}, {{DType::fp32, {}}});
      EXPECT_TRUE(std::isnan(run.results[0].get(0))) << "a NaN in " << to_string(x.type());
    }
  }
}

/// A use of quantize_fp8 with all its results.
ExactCase quantizing(const Tensor& x, const std::string& format, const std::string& block,
                     bool transposed, bool measured) {
  const kernels::MatrixSize size = kernels::matrix_size(x.type());
  const kernels::MatrixSize turned{size.columns, size.rows};
  const DType dtype = *kernels::parse_fp8_format(format);
  ExactCase c{
      cuda::quantize_fp8,
      reference::quantize_fp8,
      {x},
      {{dtype, x.type().shape}, {DType::fp32, kernels::fp8_scale_shape(block_of(block), size)}},
      {{"format", format}, {"block", block}, {"transposed", transposed}, {"measure", measured}},
      {}};
  if (block == "tensor") c.operands.emplace_back(of({DType::fp32, {}}, {3}));
  if (transposed) {
    c.results.push_back({dtype, {turned.rows, turned.columns}});
    if (block != "tensor") {
      c.results.push_back({DType::fp32, kernels::fp8_scale_shape(block_of(block), turned)});
    }
  }
  if (measured) c.results.push_back({DType::fp32, {kernels::fp8_tiles(size)}});
  return c;
}

/// With one more dimension, of size 1.
Tensor column(const Tensor& x) {
  Shape shape = x.type().shape;
  shape.push_back(1);
  Tensor y({x.type().dtype, shape});
  for (std::int64_t i = 0; i < x.size(); ++i) y.set(i, x.get(i));
  return y;
}

struct Matrix {
  Shape shape;
  bool in_blocks, turned_in_blocks;  // of 128: along its rows, and both ways
};
// Tiles that end early and whole ones, more than one each way, one row, widths of models.
const std::vector<Matrix> kMatrices{
    {{3, 38}, false, false},    {{2, 3, 80}, false, false},  {{48, 80}, false, false},
    {{144, 272}, false, false}, {{1, 768}, true, false},     {{130, 256}, true, false},
    {{128, 128}, true, true},   {{2, 128, 384}, true, true}, {{128, 768}, true, true},
    {{640, 128}, true, true},
};

TEST_F(CudaFp8, QuantizesAsTheReferenceDoes) {
  for (const Matrix& matrix : kMatrices) {
    for (const char* block : kBlocks) {
      for (const bool more : {false, true}) {  // the transpose, and the amax
        const bool needs_both = more || block_of(block) == Fp8Block::square;
        const bool fits = needs_both ? matrix.turned_in_blocks : matrix.in_blocks;
        if (block_of(block) != Fp8Block::tensor && !fits) continue;
        for (const DType dtype : {DType::fp32, DType::bf16}) {
          const Tensor x = of_every_size({dtype, matrix.shape});
          const char* format = dtype == DType::bf16 ? "e4m3" : "e5m2";
          expect_same_bits(quantizing(x, format, block, more, more),
                           to_string(x.type()) + " by " + block);
        }
      }
    }
  }
}

TEST_F(CudaFp8, ScalesByAKnownAmax) {
  for (const Shape& shape : {Shape{3, 38}, Shape{48, 80}}) {
    for (const std::int64_t index : {0, 2}) {
      ExactCase c = quantizing(of_every_size({DType::bf16, shape}), "e5m2", "tensor", true, true);
      c.operands[1] = of({DType::fp32, {3}}, {0.25, 7, 0});
      c.attributes.set("indices", std::vector<std::int64_t>{index});
      c.attributes.set("assumed", 0.5);
      expect_same_bits(c, std::to_string(index) + " for " + to_string(c.operands[0]->type()));
    }
  }
}

TEST_F(CudaFp8, SumsWhatItQuantizes) {
  for (const Matrix& matrix : kMatrices) {
    for (const char* block : kBlocks) {
      if (block_of(block) != Fp8Block::tensor && !matrix.turned_in_blocks) continue;
      if (matrix.shape.back() % 16 != 0) continue;
      const Tensor x = normal({DType::bf16, matrix.shape}, 3);
      const bool transposed = kernels::matrix_size(x.type()).rows % 16 == 0;
      const ExactCase c = quantizing(x, "e4m3", block, transposed, true);
      std::vector<TensorType> results = c.results;
      results.insert(results.end() - 1, {DType::fp32, {matrix.shape.back()}});
      Attributes attributes = c.attributes;
      attributes.set("sum", true);
      const KernelRun apart = run_cuda_kernel(c.prepare, c.operands, c.results, c.attributes);
      const KernelRun sums = run_kernel(c.reference, c.operands, results, attributes);
      const KernelRun run = run_in_each_thread_order(c.prepare, c.operands, results, attributes);
      ASSERT_FALSE(run.declined) << *run.declined;
      const std::size_t sum = results.size() - 2;
      EXPECT_LE(relative_difference(run.results[sum], sums.results[sum]), 2e-5)
          << to_string(x.type());
      for (std::size_t r = 0; r < c.results.size(); ++r) {
        const Tensor& with_sum = run.results[r < sum ? r : r + 1];
        EXPECT_TRUE(same_bits(with_sum, apart.results[r])) << "result " << r << " by " << block;
      }
    }
  }
}

/// A tensor, or two, that a program makes, and the kernel that makes them otherwise.
struct Made {
  const char* program;
  PrepareFn apart;
  std::size_t operands, values;
  bool backward;
  Attributes attributes;
};
const Attributes kTanh{{"approximate", std::string("tanh")}};
const Attributes kErf{{"approximate", std::string("none")}};
const std::vector<Made> kMade{
    {kernels::elementwise::kSwiglu, cuda::swiglu, 2, 1, false, {}},
    {kernels::elementwise::kSwigluGrad, cuda::swiglu_grad, 3, 2, true, {}},
    {kernels::elementwise::kGeluTanh, cuda::gelu, 1, 1, false, kTanh},
    {kernels::elementwise::kGelu, cuda::gelu, 1, 1, false, kErf},
    {kernels::elementwise::kGeluTanhGrad, cuda::gelu_grad, 2, 1, true, kTanh},
    {kernels::elementwise::kGeluGrad, cuda::gelu_grad, 2, 1, true, kErf},
};

/// What quantizing each of `values` apart gives; with `more` behind the value itself, and with sums
/// and maxima.
struct Expected {
  std::vector<Tensor> results;
  std::vector<TensorType> types;
  Attributes attributes;
};
Expected quantized_apart(const std::vector<Tensor>& values, const std::string& block, bool backward,
                         bool more) {
  const bool blocks = block != "tensor";
  Expected expected;
  std::vector<std::int64_t> indices;
  std::vector<Tensor> maxima;
  for (const Tensor& y : values) {
    ExactCase c = quantizing(y, backward && !blocks ? "e5m2" : "e4m3", block, true, more);
    const auto index = static_cast<std::int64_t>(indices.size());
    if (!blocks) c.operands[1] = of({DType::fp32, {2}}, {0.5, 0});
    c.attributes.set("indices", std::vector<std::int64_t>{index});
    c.attributes.set("assumed", 3.0);
    c.attributes.set("sum", more);
    if (more) c.results.insert(c.results.end() - 1, {DType::fp32, {y.type().dim(-1)}});
    KernelRun run = run_cuda_kernel(c.prepare, c.operands, c.results, c.attributes);
    if (more) {
      expected.results.push_back(y);
      maxima.push_back(run.results.back());
      run.results.pop_back();
    }
    for (Tensor& result : run.results) expected.results.push_back(std::move(result));
    indices.push_back(index);
    expected.attributes = c.attributes;
  }
  for (Tensor& amax : maxima) expected.results.push_back(std::move(amax));
  for (const Tensor& result : expected.results) expected.types.push_back(result.type());
  expected.attributes.set("indices", indices);
  expected.attributes.set("keep", more);
  return expected;
}

void expect_made(const std::string& program, Operands operands, const std::vector<Tensor>& values,
                 const std::string& block, bool backward, bool more) {
  Expected expected = quantized_apart(values, block, backward, more);
  expected.attributes.set("program", program);
  if (block == "tensor") operands.emplace_back(of({DType::fp32, {2}}, {0.5, 0}));
  const KernelRun run =
      run_in_each_thread_order(cuda::quantize_fp8, operands, expected.types, expected.attributes);
  ASSERT_FALSE(run.declined) << *run.declined;
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    EXPECT_TRUE(same_bits(run.results[r], expected.results[r]))
        << program << ", result " << r << " by " << block << (more ? ", with more" : "");
  }
}

const std::vector<Shape> kMadeShapes{{2, 128, 384}, {144, 272}, {48, 16}};
bool in_blocks(const Shape& shape) { return shape.size() == 3; }

// To the bit what the two kernels give one after the other.
TEST_F(CudaFp8, QuantizesWhatAProgramMakes) {
  for (const Made& made : kMade) {
    for (const Shape& shape : kMadeShapes) {
      const TensorType type{DType::bf16, shape};
      Operands operands;
      for (std::size_t i = 0; i < made.operands; ++i) operands.emplace_back(normal(type, i + 1));
      const KernelRun apart = run_cuda_kernel(
          made.apart, operands, std::vector<TensorType>(made.values, type), made.attributes);
      ASSERT_FALSE(apart.declined) << *apart.declined;
      for (const char* block : {"tensor", "1x128"}) {
        if (block != std::string("tensor") && !in_blocks(shape)) continue;
        for (const bool more : {false, true}) {
          expect_made(made.program, operands, apart.results, block, made.backward, more);
        }
      }
    }
  }
}

TEST_F(CudaFp8, MeasuresWhatAProgramMakes) {
  for (const Made& made : kMade) {
    for (const Shape& shape : {Shape{2, 65, 144}, Shape{1, 16}}) {
      const TensorType type{DType::bf16, shape};
      Operands operands;
      for (std::size_t i = 0; i < made.operands; ++i) operands.emplace_back(normal(type, i + 1));
      std::vector<TensorType> results(made.values, type);
      const KernelRun apart = run_cuda_kernel(made.apart, operands, results, made.attributes);
      results.resize(2 * made.values, {DType::fp32, {}});
      const KernelRun run = run_in_each_thread_order(cuda::amax, operands, results,
                                                     {{"program", std::string(made.program)}});
      ASSERT_FALSE(run.declined) << *run.declined;
      for (std::size_t v = 0; v < made.values; ++v) {
        const KernelRun amax = run_cuda_kernel(cuda::amax, {apart.results[v]}, {results.back()});
        EXPECT_TRUE(same_bits(run.results[v], apart.results[v])) << made.program << v;
        EXPECT_TRUE(same_bits(run.results[made.values + v], amax.results[0])) << made.program << v;
      }
    }
  }
}

TEST_F(CudaFp8, QuantizesWhatANormMakes) {
  const Attributes epsilon{{"epsilon", 1e-5}};
  for (const Shape& shape : kMadeShapes) {
    const TensorType type{DType::bf16, shape}, vector{DType::fp32, {shape.back()}};
    const TensorType statistic{DType::fp32, Shape(shape.begin(), shape.end() - 1)};
    const Tensor x = normal(type, 1), gain = normal(vector, 2), bias = normal(vector, 3);
    const KernelRun layer =
        run_cuda_kernel(cuda::layer_norm, {x, gain, bias}, {type, statistic, statistic}, epsilon);
    const KernelRun rms = run_cuda_kernel(cuda::rms_norm, {x, gain}, {type, statistic}, epsilon);
    for (const char* block : {"tensor", "1x128"}) {
      if (block != std::string("tensor") && !in_blocks(shape)) continue;
      expect_made(kernels::elementwise::kLayerNorm,
                  {x, column(layer.results[1]), column(layer.results[2]), gain, bias},
                  {layer.results[0]}, block, false, false);
      expect_made(kernels::elementwise::kRmsNorm, {x, column(rms.results[1]), gain},
                  {rms.results[0]}, block, false, true);
    }
  }
}

// As many tensors as need more than one launch, some without a number.
TEST_F(CudaFp8, CollectsOfAnyNumberOfTensors) {
  for (const std::int64_t tensors : {1, 3, 130, 1500}) {
    const TensorType type{DType::fp32, {tensors}};
    Tensor before(type);
    Operands operands{std::nullopt};
    for (std::int64_t i = 0; i < tensors; ++i) {
      const double amax = i % 17 == 11 ? std::nan("") : static_cast<double>(i % 40);
      before.set(i, static_cast<double>(i % 37));
      const TensorType maxima{DType::fp32, {i % 7 == 3 ? 300 : 1}};
      operands.emplace_back(i % 5 == 2 ? std::optional<Tensor>() : Tensor(maxima));
      if (operands.back()) operands.back()->set(maxima.elements() - 1, amax);
    }
    ExactCase c{
        cuda::collect_amax, reference::collect_amax, operands, {type}, {{"size", tensors}}, {}};
    const std::string what = std::to_string(tensors) + " tensors";
    expect_same_bits(c, what);
    c.operands[0] = before;
    expect_same_bits(c, what + " after others");
    c.share = {{0, 0}};
    expect_same_bits(c, what + " in place");
  }
}

TEST_F(CudaFp8, KeepsTheLastSteps) {
  for (const std::int64_t tensors : {3, 150}) {
    const TensorType history{DType::fp32, {16, tensors}}, row{DType::fp32, {tensors}};
    Tensor before(history), collected(row);
    for (std::int64_t i = 0; i < before.size(); ++i) before.set(i, static_cast<double>(i * 7 % 64));
    for (std::int64_t i = 0; i < tensors; ++i) collected.set(i, static_cast<double>(i % 60));
    for (const double coefficient : {0.5, std::nan("")}) {
      ExactCase c{cuda::amax_history,
                  reference::amax_history,
                  {before, collected, of({DType::fp32, {}}, {coefficient})},
                  {history, row},
                  {},
                  {}};
      expect_same_bits(c, "apart");
      c.share = {{0, 0}};
      expect_same_bits(c, "in place");
    }
  }
}

// A block of zeros, of numbers too small for the inverse of their scale, and what is not finite.
TEST_F(CudaFp8, BlocksAtTheEndsOfTheRange) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    Tensor x = normal({dtype, {128, 384}}, 2);
    for (std::int64_t row = 0; row < 128; ++row) {
      for (std::int64_t column = 0; column < 256; ++column) {
        const std::int64_t i = row * 384 + column;
        x.set(i, column < 128 ? 0.0 : x.get(i) * 0x1p-140);
      }
    }
    for (const char* block : kBlocks) {
      expect_same_bits(quantizing(x, "e4m3", block, true, true), block);
    }
    x.set(5 * 384 + 300, -kInfinity);
    for (const char* block : kBlocks) {
      expect_same_bits(quantizing(x, "e5m2", block, true, true), std::string("infinity, ") + block);
    }
  }
}

// Every bf16 number, and so every tie: what a device rounds by one instruction has the bits of
// base/dtype.h.
TEST_F(CudaFp8, RoundsEveryNumberAlike) {
  Tensor x({DType::bf16, {256, 256}});
  for (std::int64_t i = 0; i < x.size(); ++i)
    x.as<BFloat16>()[i].bits = static_cast<std::uint16_t>(i);
  for (const char* format : {"e4m3", "e5m2"}) {
    ExactCase c = quantizing(x, format, "tensor", true, false);
    c.operands[1] =
        of({DType::fp32, {}}, {kernels::largest_fp8(*kernels::parse_fp8_format(format))});
    expect_same_bits(c, format);  // with a scale of 1
  }
}

struct Scaled {
  const char* block_a;
  const char* block_b;
  const char* format_a;
  std::int64_t m, n, k;
};
const std::vector<Scaled> kProducts{
    {"tensor", "tensor", "e4m3", 16, 48, 80},      {"tensor", "tensor", "e5m2", 64, 32, 768},
    {"tensor", "tensor", "e5m2", 1, 7, 38},        {"1x128", "128x128", "e4m3", 16, 128, 384},
    {"1x128", "1x128", "e4m3", 32, 16, 256},       {"128x128", "1x128", "e4m3", 128, 16, 128},
    {"128x128", "128x128", "e4m3", 128, 128, 128},
};

void push_quantized(Operands& operands, const Shape& shape, std::uint64_t seed,
                    const std::string& format, const std::string& block) {
  ExactCase c = quantizing(normal({DType::fp32, shape}, seed), format, block, false, false);
  const KernelRun run = run_kernel(c.reference, c.operands, c.results, c.attributes);
  for (const Tensor& result : run.results) operands.emplace_back(result);
}

struct Epilogue {
  DType result;
  std::optional<DType> bias;
  bool addend;
};
const Epilogue kEpilogues[] = {
    {DType::bf16, std::nullopt, false}, {DType::fp32, std::nullopt, true},
    {DType::bf16, DType::fp32, true},   {DType::bf16, DType::bf16, false},
    {DType::fp32, DType::fp32, false},  {DType::fp32, DType::bf16, true}};

Operands operands_of(const Scaled& c, const Epilogue& epilogue) {
  Operands operands;
  push_quantized(operands, {c.m, c.k}, 1, c.format_a, c.block_a);
  push_quantized(operands, {c.n, c.k}, 2, "e4m3", c.block_b);
  operands.resize(6);
  if (epilogue.bias) operands[4] = normal({*epilogue.bias, {c.n}}, 3);
  if (epilogue.addend) operands[5] = normal({epilogue.result, {c.m, c.n}}, 4);
  return operands;
}

kernels::Prepared without_fp8(const kernels::KernelRequest& request) {
  kernels::Machine machine = request.machine;
  machine.compute_capability = 80;
  return cuda::scaled_matmul_dequantized(
      {request.operands, request.results, request.attributes, machine});
}

void expect_product(PrepareFn prepare, const Scaled& c, const Epilogue& epilogue, double tolerance,
                    int& accepted) {
  const Operands operands = operands_of(c, epilogue);
  const TensorType y{epilogue.result, {c.m, c.n}};
  const Attributes attributes{{"block_a", std::string(c.block_a)},
                              {"block_b", std::string(c.block_b)},
                              {"dtype", std::string(name_of(epilogue.result))}};
  const Tensor expected =
      run_kernel(reference::scaled_matmul, operands, {y}, attributes).results[0];
  const KernelRun run = run_in_each_thread_order(prepare, operands, {y}, attributes);
  if (run.declined) {
    EXPECT_FALSE(run.declined->empty());
    return;
  }
  ++accepted;
  EXPECT_LE(relative_difference(run.results[0], expected), tolerance);
  if (!epilogue.addend) return;
  const KernelRun shared = run_cuda_kernel(prepare, operands, {y}, attributes, {{0, 5}});
  EXPECT_TRUE(same_bits(shared.results[0], run.results[0])) << "in place of the addend";
}

void expect_products(PrepareFn prepare, bool rounds_blocks, int at_least) {
  int accepted = 0;
  for (const Scaled& c : kProducts) {
    for (const Epilogue& epilogue : kEpilogues) {
      SCOPED_TRACE(std::string(c.block_a) + " x " + c.block_b + ", depth " + std::to_string(c.k) +
                   " -> " + std::string(name_of(epilogue.result)));
      const bool rounded = epilogue.result == DType::bf16 ||
                           (rounds_blocks && block_of(c.block_a) != Fp8Block::tensor);
      expect_product(prepare, c, epilogue, rounded ? 1.6e-2 : 2e-5, accepted);
    }
  }
  EXPECT_GE(accepted, at_least);
}

TEST_F(CudaFp8, ProductsOfTheDevice) {
#ifdef BESSEMER_CUDA
  expect_products(cuda::scaled_matmul, false, 0);  // as many as this device has
#else
  expect_products(cuda::scaled_matmul, false, 20);
#endif
}

TEST_F(CudaFp8, ProductsWhereTheDeviceHasNone) {
  expect_products(without_fp8, true, static_cast<int>(std::size(kEpilogues) * kProducts.size()));
}

}  // namespace
}  // namespace bessemer::testing

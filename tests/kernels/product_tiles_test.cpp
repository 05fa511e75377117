// Products in tiles of the matrix of weights have the bits of the whole product.
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "kernels/cpu/blocked_product.h"
#include "kernels/cpu/cpu.h"
#include "kernels/product_block.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;

// Values in [-1, 1) without a pattern, cheaply.
Tensor noise(const TensorType& type, std::uint32_t seed) {
  Tensor tensor(type);
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.set(i, static_cast<double>(static_cast<std::int32_t>(state)) * 0x1p-31);
  }
  return tensor;
}

Tensor rows_of(const Tensor& x, std::int64_t begin, std::int64_t end) {
  Tensor rows({x.type().dtype, {end - begin, x.type().dim(1)}});
  const std::size_t row_bytes = x.type().bytes() / static_cast<std::size_t>(x.type().dim(0));
  std::memcpy(rows.data(),
              static_cast<const std::byte*>(x.data()) + static_cast<std::size_t>(begin) * row_bytes,
              rows.type().bytes());
  return rows;
}

Tensor run(kernels::Prepared (*prepare)(const kernels::KernelRequest&), const Operands& operands,
           const TensorType& type, const Attributes& attributes) {
  KernelRun made = run_kernel(prepare, operands, {type}, attributes);
  EXPECT_FALSE(made.declined) << *made.declined;
  return std::move(made.results[0]);
}

struct TileCase {
  const char* name;
  std::int64_t tokens;
  DType dtype, result;
  bool addend;
  const char* activation = "none";
  int blocks = 1;  // of a tile
};

class ProductTiles : public ::testing::TestWithParam<TileCase> {
 protected:
  static constexpr std::int64_t kColumns = 520;
  static constexpr std::int64_t kRows = 8203;  // a little over four million elements

  static std::int64_t step() { return GetParam().blocks * kernels::product_block_rows(kColumns); }
  template <typename Body>
  static void for_each_tile(const Body& body) {
    for (std::int64_t begin = 0; begin < kRows; begin += step()) {
      body(begin, std::min(kRows, begin + step()));
    }
  }
  static Attributes part(const char* name, std::int64_t begin) {
    return {{"part", std::string(name)}, {"begin", begin}};
  }
};

TEST_P(ProductTiles, MakeColumns) {
  const TileCase& c = GetParam();
  ASSERT_TRUE(kernels::is_large_matrix(kRows, kColumns));
  const Tensor x = noise({c.dtype, {c.tokens, kColumns}}, 1);
  const Tensor w = noise({c.dtype, {kRows, kColumns}}, 2), bias = noise({c.dtype, {kRows}}, 3);
  const TensorType type{c.result, {c.tokens, kRows}};
  std::optional<Tensor> addend;
  if (c.addend) addend = noise(type, 4);
  const std::string activation = c.activation;
  const Tensor whole = run(cpu::matmul, {x, w, bias, addend}, type,
                           {{"transpose_b", true}, {"activation", activation}});
  Tensor y = noise(type, 5);
  for_each_tile([&](std::int64_t begin, std::int64_t end) {
    Attributes attributes = part("columns", begin);
    attributes.set("activation", activation);
    y = run(cpu::matmul_tile, {x, rows_of(w, begin, end), bias, addend, y}, type, attributes);
  });
  EXPECT_TRUE(same_bits(y, whole));
}

TEST_P(ProductTiles, AddUpOverDepth) {
  const TileCase& c = GetParam();
  const Tensor dy = noise({c.dtype, {c.tokens, kRows}}, 1),
               w = noise({c.dtype, {kRows, kColumns}}, 2);
  const TensorType type{c.result, {c.tokens, kColumns}}, sums{DType::fp32, type.shape};
  std::optional<Tensor> addend;
  if (c.addend) addend = noise(type, 4);
  const Tensor whole = run(cpu::matmul, {dy, w, std::nullopt, addend}, type,
                           {{"dtype", std::string(name_of(c.result))}});
  const bool fp32 = c.result == DType::fp32;
  std::optional<Tensor> sum = fp32 ? addend : std::nullopt;
  for_each_tile([&](std::int64_t begin, std::int64_t end) {
    sum = run(cpu::matmul_tile, {dy, rows_of(w, begin, end), std::nullopt, sum}, sums,
              part("depth", begin));
  });
  if (!fp32 && c.addend) sum = run(cpu::add, {*addend, *sum}, type, {});
  if (!fp32 && !c.addend) sum = run(cpu::cast, {*sum}, type, {});
  EXPECT_TRUE(same_bits(*sum, whole));
}

TEST_P(ProductTiles, MakeRowsOfTheGradient) {
  const TileCase& c = GetParam();
  const Tensor dy = noise({c.dtype, {c.tokens, kRows}}, 1);
  const Tensor x = noise({c.dtype, {c.tokens, kColumns}}, 2);
  const TensorType type{DType::fp32, {kRows, kColumns}};
  std::optional<Tensor> addend;
  if (c.addend) addend = noise(type, 4);
  const Tensor whole = run(cpu::matmul, {dy, x, std::nullopt, addend}, type,
                           {{"transpose_a", true}, {"dtype", std::string("fp32")}});
  for_each_tile([&](std::int64_t begin, std::int64_t end) {
    Attributes attributes = part("rows", begin);
    attributes.set("end", end);
    std::optional<Tensor> rows;
    if (addend) rows = rows_of(*addend, begin, end);
    const Tensor tile = run(cpu::matmul_tile, {dy, x, std::nullopt, rows},
                            {DType::fp32, {end - begin, kColumns}}, attributes);
    EXPECT_TRUE(same_bits(tile, rows_of(whole, begin, end))) << "rows from " << begin;
  });
}

constexpr DType kFp32 = DType::fp32, kBf16 = DType::bf16;
INSTANTIATE_TEST_SUITE_P(Table, ProductTiles,
                         ::testing::Values(TileCase{"fp32", 20, kFp32, kFp32, false},
                                           TileCase{"fp32_sum", 37, kFp32, kFp32, true, "none", 2},
                                           TileCase{"bf16", 20, kBf16, kBf16, false, "gelu_tanh"},
                                           TileCase{"bf16_sum", 37, kBf16, kBf16, true, "silu", 3},
                                           TileCase{"bf16_to_fp32", 9, kBf16, kFp32, true},
                                           TileCase{"one_token", 1, kBf16, kBf16, true},
                                           TileCase{"one_token_fp32", 1, kFp32, kFp32, false}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace bessemer::testing

// One matrix product, prepared once and run many times: result = activation(a·b + bias) + addend.
// What the matmul kernel and the language-model head are made of. Three implementations: `gemm.h`
// (own, converts bf16 while packing), `onednn_product.h` (where the machine has the arithmetic) and
// `skinny_product.h` (a few rows); and `blocked_product.h`, which makes a large product of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "kernels/kernel.h"

namespace bessemer::kernels::cpu {

enum class Activation : std::uint8_t { none, gelu_tanh, gelu, silu };

/// By the value of the attribute `activation`.
std::optional<Activation> parse_activation(std::string_view name);

/// a is m x k and b is k x n after the transposes; as stored they are row-major, [k, m] and [n, k]
/// where transposed. The result, m x n, and the addend are of one dtype. b is dense; so are a,
/// result and addend unless they are columns of wider matrices, whose row lengths then are given.
struct ProductSpec {
  std::int64_t m = 0, n = 0, k = 0;
  DType a = DType::fp32, b = DType::fp32, result = DType::fp32;
  bool transpose_a = false, transpose_b = false;
  std::optional<DType> bias;  // of length n
  bool addend = false;        // may share the result's buffer
  Activation activation = Activation::none;
  std::int64_t a_row = 0;       // elements from one stored row of a to the next; 0: dense
  std::int64_t result_row = 0;  // the same of result and addend

  std::int64_t a_stride() const { return a_row > 0 ? a_row : transpose_a ? m : k; }
  std::int64_t result_stride() const { return result_row > 0 ? result_row : n; }
};

struct ProductBuffers {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;
  const void* addend = nullptr;
  void* result = nullptr;
  std::byte* scratch = nullptr;  // Product::scratch_bytes(), 64-byte aligned
};

/// `run` allocates nothing of ours and uses the thread team; one caller at a time.
class Product {
 public:
  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  virtual ~Product() = default;
  virtual std::size_t scratch_bytes() const = 0;
  virtual void run(const ProductBuffers& buffers) const = 0;
};

/// The fastest product of this machine for the dtypes, fp32 or bf16; null for any other dtype. A
/// large one is made in blocks.
std::unique_ptr<const Product> make_product(const ProductSpec& spec, const Machine& machine);

/// The same in one.
std::unique_ptr<const Product> make_single_product(const ProductSpec& spec, const Machine& machine);

/// A product that may be cut along m, and with an fp32 result and no activation along k (each part
/// added to the one before), into parts made by this function too, without a change of bits. Null
/// where the fastest for many rows is not such a one: oneDNN chooses the order of its sums by
/// shape.
std::unique_ptr<const Product> make_divisible_product(const ProductSpec& spec,
                                                      const Machine& machine);

}  // namespace bessemer::kernels::cpu

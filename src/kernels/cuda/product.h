// A matrix product on a CUDA device, prepared once and queued many times: what matmul and the
// language-model head are made of. cuBLASLt's (driver/), or the CPU's in the null device (null/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/device.h"
#include "kernels/fp8.h"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// result = activation(a·b + bias) + addend, or a·b times the derivative of gelu_tanh at x. a is m
/// x k and b is k x n after the transposes; as stored they are row-major, [k, m] and [n, k] where
/// transposed. They are dense, as are result and addend, unless the rows of a or of the result are
/// given a length. `batch` products lie one behind the other; the bias is the same for all. What
/// fp8 operands stand for is multiplied (kernels/fp8.h): one dense product of a [m, k] and b [n,
/// k], without an activation.
struct ProductSpec {
  enum class Activation : std::uint8_t { none, gelu_tanh, gelu_tanh_grad };
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  DType a = DType::bf16, b = DType::bf16;  // both fp32, both bf16, or both fp8 of any format
  DType result = DType::bf16;              // and of the addend: fp32, or bf16 unless a is fp32
  Fp8Block block_a = Fp8Block::tensor, block_b = Fp8Block::tensor;  // of fp8 operands
  bool tf32 = false;  // fp32 operands lose the last 13 of their bits before they are multiplied
  bool transpose_a = false, transpose_b = false;
  bool bias = false;    // of length n, of bias_dtype()
  bool addend = false;  // may share the result's buffer; not together with an activation
  Activation activation = Activation::none;
  bool row_sums = false;   // of a's rows, in fp32, too: of one product with an fp32 result as it is
  std::int64_t a_row = 0;  // elements from one stored row of a to the next; 0: dense
  std::int64_t result_row = 0;  // the same of result and addend; of one product, not of a batch

  bool is_fp8() const { return bessemer::is_fp8(a); }
  DType bias_dtype() const { return is_fp8() ? DType::bf16 : result; }
  std::int64_t a_stride() const { return a_row > 0 ? a_row : transpose_a ? m : k; }
  std::int64_t result_stride() const { return result_row > 0 ? result_row : n; }
  bool operator==(const ProductSpec&) const = default;
};

struct ProductBuffers {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;
  const void* addend = nullptr;
  void* result = nullptr;
  void* scratch = nullptr;         // Product::scratch_bytes()
  const float* scale_a = nullptr;  // of fp8 operands
  const float* scale_b = nullptr;
  const void* x = nullptr;    // like the result, of gelu_tanh_grad
  float* row_sums = nullptr;  // m of them
};

class Product {
 public:
  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  virtual ~Product() = default;
  virtual std::size_t scratch_bytes() const = 0;
  /// Whether the library can do it, and sums of rows in less time than they take apart; asks the
  /// device. Of products with neither these nor an activation it is known beforehand.
  virtual bool is_available() const { return true; }
  /// As kernels::Kernel::load.
  virtual void load() const {}
  virtual void run(const ProductBuffers& buffers, Stream stream) const = 0;
};

/// Error where a spec asks for what the comments above exclude.
void require_valid(const ProductSpec& spec);

/// Why a device of this compute capability has no such product of fp8 operands; empty where it has.
std::string why_no_fp8_product(const ProductSpec& spec, int compute_capability);

/// Whether products of this build take fp8 operands that are scaled by blocks.
bool has_block_scaling();

/// Needs neither a device nor cuBLASLt, which is asked for an algorithm by load(); whatever it
/// chooses works within scratch_bytes(). Buffers are at multiples of 64 bytes.
std::unique_ptr<const Product> make_product(const ProductSpec& spec);

}  // namespace bessemer::kernels::cuda

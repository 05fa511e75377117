// A matrix product on a CUDA device, prepared once and queued many times: what matmul and the
// language-model head are made of. cuBLASLt's (driver/), or the CPU's in the null device (null/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cuda/device.h"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// result = activation(a·b + bias) + addend. a is m x k and b is k x n after the transposes; as
/// stored they are row-major, [k, m] and [n, k] where transposed. They are dense, as are result and
/// addend, unless the rows of a or of the result are given a length. `batch` products lie one
/// behind the other; the bias is the same for all.
struct ProductSpec {
  enum class Activation : std::uint8_t { none, gelu_tanh };
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  DType input = DType::bf16;   // of a and b
  DType result = DType::bf16;  // and of the addend: fp32, or the input's
  bool transpose_a = false, transpose_b = false;
  bool bias = false;    // of length n, in the result's dtype
  bool addend = false;  // may share the result's buffer; not together with an activation
  Activation activation = Activation::none;
  std::int64_t a_row = 0;       // elements from one stored row of a to the next; 0: dense
  std::int64_t result_row = 0;  // the same of result and addend; of one product, not of a batch

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
  void* scratch = nullptr;  // Product::scratch_bytes()
};

class Product {
 public:
  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  virtual ~Product() = default;
  virtual std::size_t scratch_bytes() const = 0;
  /// As kernels::Kernel::load.
  virtual void load() const {}
  virtual void run(const ProductBuffers& buffers, Stream stream) const = 0;
};

/// Error where a spec asks for what the comments above exclude.
void require_valid(const ProductSpec& spec);

/// Of fp32 and bf16, with a result of the input's dtype or fp32. Needs neither a device nor
/// cuBLASLt, which is asked for an algorithm by load(); whatever it chooses works within
/// scratch_bytes(). Buffers are at multiples of 64 bytes.
std::unique_ptr<const Product> make_product(const ProductSpec& spec);

}  // namespace bessemer::kernels::cuda

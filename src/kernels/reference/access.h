// How the reference kernels see tensors: whole operands as doubles, by value. Because operands are
// copied before anything is stored, every kernel built on this is right when a result shares an
// operand's buffer. Stores round once, from fp64 straight to the result's dtype, to nearest even.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/kernel.h"

namespace bessemer::kernels::reference {

using Doubles = std::vector<double>;

/// `value` rounded to `dtype` and back. Integers truncate and saturate, NaN becomes 0.
double round_to(DType dtype, double value);

/// All of them.
Doubles rounded(Doubles values, DType dtype);

/// 0 of none; NaN where any is.
double largest_magnitude(const Doubles& values);

Doubles load(const TensorType& type, const void* buffer);
void store(const TensorType& type, void* buffer, const Doubles& values);

/// Operand and result types of one instruction, kept from prepare to run.
struct Signature {
  explicit Signature(const KernelRequest& request)
      : operands(request.operands.begin(), request.operands.end()),
        results(request.results.begin(), request.results.end()) {}

  std::vector<std::optional<TensorType>> operands;
  std::vector<TensorType> results;
};

/// One run of a reference kernel.
class Call {
 public:
  Call(const Signature& signature, const KernelBuffers& buffers)
      : signature_(signature), buffers_(buffers) {}

  std::size_t operands() const { return signature_.operands.size(); }
  bool has(std::size_t i) const { return i < operands() && signature_.operands[i].has_value(); }
  const TensorType& type(std::size_t i) const { return *signature_.operands[i]; }
  bool has_result(std::size_t r) const { return r < signature_.results.size(); }
  const TensorType& result_type(std::size_t r) const { return signature_.results[r]; }
  const KernelBuffers& buffers() const { return buffers_; }

  Doubles operand(std::size_t i) const { return load(type(i), buffers_.operands[i]); }
  /// Zeros of result `r`'s size where operand `i` is absent.
  Doubles operand_or_zeros(std::size_t i, std::size_t r) const {
    return has(i) ? operand(i) : zeros(r);
  }
  Doubles zeros(std::size_t r) const {
    return Doubles(static_cast<std::size_t>(result_type(r).elements()));
  }
  double scalar(std::size_t i) const { return operand(i)[0]; }
  void set_result(std::size_t r, const Doubles& values) const {
    store(result_type(r), buffers_.results[r], values);
  }

 private:
  const Signature& signature_;
  const KernelBuffers& buffers_;
};

/// Wraps `void body(const Call&)`.
template <typename Body>
Prepared make_reference(const KernelRequest& request, Body body) {
  Signature signature(request);
  return make_kernel([signature = std::move(signature), body = std::move(body)](
                         const KernelBuffers& buffers) { body(Call(signature, buffers)); });
}

/// Dimension `d` as an index from the front; negative counts from the end.
inline std::size_t dimension(std::int64_t d, std::int64_t rank) {
  const std::int64_t index = d < 0 ? d + rank : d;
  require(index >= 0 && index < rank, "dimension {} of {}", d, rank);
  return static_cast<std::size_t>(index);
}

}  // namespace bessemer::kernels::reference

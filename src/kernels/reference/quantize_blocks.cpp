#include <algorithm>
#include <cmath>

#include "kernels/quantized_blocks.h"
#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// The exponent of the block [begin, end).
int exponent_of(const double* begin, const double* end) {
  constexpr double kBeyondFp32 = 0x1p128;
  double largest = 0;
  for (const double* x = begin; x != end; ++x) {
    if (!(std::abs(*x) < kBeyondFp32)) return kNotFinite;
    largest = std::max(largest, std::abs(*x));
  }
  return largest == 0 ? kSmallestExponent : std::max(kSmallestExponent, std::ilogb(largest));
}

double quantized(double x, int exponent) {
  if (exponent == kNotFinite) return 0;
  const double q = std::nearbyint(std::ldexp(x, kQuantizedFraction - exponent));
  return std::clamp<double>(q, -kLargestQuantized, kLargestQuantized);
}

}  // namespace

Prepared quantize_blocks(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const std::int64_t n = call.type(0).dim(-1), width = call.result_type(0).dim(-1);
    const Doubles x = call.operand(0);
    Doubles y = call.zeros(0);
    const std::int64_t rows = width == 0 ? 0 : call.result_type(0).elements() / width;
    for (std::int64_t row = 0; row < rows; ++row) {
      const double* from = x.data() + row * n;
      double* to = y.data() + row * width;
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t block = i / kQuantizedBlock * kQuantizedBlock;
        const int exponent = exponent_of(from + block, from + std::min(n, block + kQuantizedBlock));
        to[i] = quantized(from[i], exponent);
        to[n + i / kQuantizedBlock] = exponent;
      }
    }
    call.set_result(0, y);
  });
}

Prepared dequantize_blocks(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const std::int64_t n = call.result_type(0).dim(-1), width = call.type(0).dim(-1);
    const Doubles x = call.operand(0);
    Doubles y = call.zeros(0);
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
      const std::int64_t row = i / n, column = i % n;
      const double exponent = x[index(row * width + n + column / kQuantizedBlock)];
      const double q = x[index(row * width + column)];
      y[index(i)] = exponent == kNotFinite
                        ? std::nan("")
                        : std::ldexp(q, static_cast<int>(exponent) - kQuantizedFraction);
    }
    call.set_result(0, y);
  });
}

}  // namespace bessemer::kernels::reference

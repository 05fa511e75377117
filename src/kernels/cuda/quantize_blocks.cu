// Blocks of 32 numbers in 8 bits with a shared exponent, and back (kernels/quantized_blocks.h). All
// arithmetic is exact but the rounding of an element, so the bits are the reference's. Bound by
// memory: 5.03 bytes a number of fp32, 3.03 of bf16, either way. A thread has 16 bytes of numbers
// at a time, and the threads of a block agree on its exponent by shuffles; rows that are not made
// of four blocks each, whose bytes then lie at any address, go a warp to a block.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/divisor.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/quantized_blocks.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kMantissa = 23, kBias = 127;  // of fp32
constexpr std::uint32_t kInfinity = 0x7f800000u, kNaN = 0x7fc00000u;

__device__ std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

/// Of a magnitude: they order as the magnitudes do, with NaN above infinity.
__device__ std::uint32_t magnitude(float x) { return bits_of(x) & 0x7fffffffu; }

/// 2^exponent, for a normal one.
__device__ float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + kBias) << kMantissa);
}

/// The exponent of a block whose largest magnitude has these bits.
__device__ int exponent_of(std::uint32_t largest) {
  if (largest >= kInfinity) return kNotFinite;
  const int exponent = static_cast<int>(largest >> kMantissa) - kBias;
  return exponent < kSmallestExponent ? kSmallestExponent : exponent;
}

__device__ std::int8_t quantized(float x, int exponent) {
  if (exponent == kNotFinite) return 0;
  constexpr float kMost = kLargestQuantized;
  const float scaled = x * power_of_two(kQuantizedFraction - exponent);
  const float within = std::fmax(-kMost, std::fmin(scaled, kMost));
  // Added to a small number it leaves the nearest integer, ties to even, in the lowest bits.
  return static_cast<std::int8_t>(bits_of(within + 0x1.8p23f) & 0xffu);
}

__device__ float restored(std::int8_t q, int exponent) {
  if (exponent == kNotFinite) return std::bit_cast<float>(kNaN);
  return static_cast<float>(q) * power_of_two(exponent - kQuantizedFraction);
}

/// What came out of 8 bits has no more than bf16 has; a NaN keeps its bits.
template <typename T>
__device__ T exactly(float x);
template <>
__device__ float exactly<float>(float x) {
  return x;
}
template <>
__device__ BFloat16 exactly<BFloat16>(float x) {
  BFloat16 upper;
  upper.bits = static_cast<std::uint16_t>(bits_of(x) >> 16);
  return upper;
}

constexpr int kThreads = 256;
constexpr int kInFlight = 2;  // packs of a thread

/// The 8-bit elements of a pack of T, at a multiple of `alignment` bytes.
template <typename T, int alignment>
struct alignas(alignment) Quantized {
  std::int8_t at[Pack<T>::kSize];
};

/// Rows of whole blocks, cut into packs.
struct PackedRows {
  std::uint32_t packs;  // of all rows
  Divisor of_row;
};

/// Where a pack's elements and its block's exponent lie among the quantized rows.
struct Place {
  std::int64_t elements, exponent;
};
template <typename T>
__device__ Place place_of(const PackedRows& rows, std::uint32_t pack) {
  const std::uint32_t row = rows.of_row.quotient(pack);
  const std::int64_t width = std::int64_t{Pack<T>::kSize} * rows.of_row.divisor();
  const std::int64_t column = std::int64_t{Pack<T>::kSize} * (pack - row * rows.of_row.divisor());
  const std::int64_t begin = row * quantized_width(width);
  return {begin + column, begin + width + column / kQuantizedBlock};
}

/// The first pack of this thread; the others follow kThreads apart.
__device__ std::uint32_t first_pack() { return blockIdx.x * (kInFlight * kThreads) + threadIdx.x; }

template <typename T, int alignment>
__global__ void quantize_packs(const PackedRows rows, const T* x, std::int8_t* y) {
  constexpr int kShare = kQuantizedBlock / Pack<T>::kSize;  // threads of a block of numbers
  const std::uint32_t first = first_pack();
  Pack<T> packs[kInFlight];
  for (int k = 0; k < kInFlight; ++k) {
    // Threads beyond the end come along to the shuffles.
    const std::uint32_t pack = first + k * kThreads;
    packs[k] = load_pack(x + std::int64_t{pack < rows.packs ? pack : 0} * Pack<T>::kSize);
  }
  for (int k = 0; k < kInFlight; ++k) {
    std::uint32_t largest = 0;
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      largest = std::max(largest, magnitude(to_float(packs[k].at[i])));
    }
    for (int lanes = kShare / 2; lanes > 0; lanes /= 2) {
      largest = std::max(largest, shuffle_xor(largest, lanes));
    }
    const std::uint32_t pack = first + k * kThreads;
    if (pack >= rows.packs) continue;
    const int exponent = exponent_of(largest);
    Quantized<T, alignment> q;
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      q.at[i] = quantized(to_float(packs[k].at[i]), exponent);
    }
    const Place place = place_of<T>(rows, pack);
    *reinterpret_cast<Quantized<T, alignment>*>(y + place.elements) = q;
    if (pack % kShare == 0) y[place.exponent] = static_cast<std::int8_t>(exponent);
  }
}

template <typename T, int alignment>
__global__ void dequantize_packs(const PackedRows rows, const std::int8_t* x, T* y) {
  const std::uint32_t first = first_pack();
  Quantized<T, alignment> q[kInFlight];
  int exponents[kInFlight];
  for (int k = 0; k < kInFlight; ++k) {
    const std::uint32_t pack = first + k * kThreads;
    if (pack >= rows.packs) continue;
    const Place place = place_of<T>(rows, pack);
    q[k] = *reinterpret_cast<const Quantized<T, alignment>*>(x + place.elements);
    exponents[k] = x[place.exponent];
  }
  for (int k = 0; k < kInFlight; ++k) {
    const std::uint32_t pack = first + k * kThreads;
    if (pack >= rows.packs) continue;
    Pack<T> restored_pack;
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      restored_pack.at[i] = exactly<T>(restored(q[k].at[i], exponents[k]));
    }
    store_pack(y + std::int64_t{pack} * Pack<T>::kSize, restored_pack);
  }
}

/// Rows of any width: a lane has an element, a warp a block of them.
struct Blocks {
  std::uint32_t count;  // of all rows
  Divisor of_row;       // the last may be shorter
  std::int64_t width;   // of a row
};

struct BlockElement {
  std::int64_t row, column, block;  // block: in its row
  bool exists;
};
__device__ BlockElement element_of(const Blocks& blocks) {
  const std::uint32_t warp = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  const std::uint32_t row = blocks.of_row.quotient(warp);
  BlockElement element;
  element.row = row;
  element.block = warp - row * blocks.of_row.divisor();
  element.column = element.block * kQuantizedBlock + lane();
  element.exists = warp < blocks.count && element.column < blocks.width;
  return element;
}

template <typename T>
__global__ void quantize_elements(const Blocks blocks, const T* x, std::int8_t* y) {
  const BlockElement element = element_of(blocks);
  const float value =
      element.exists ? to_float(x[element.row * blocks.width + element.column]) : 0.0f;
  const int exponent = exponent_of(warp_max(magnitude(value)));
  if (!element.exists) return;
  std::int8_t* row = y + element.row * quantized_width(blocks.width);
  row[element.column] = quantized(value, exponent);
  if (lane() == 0) row[blocks.width + element.block] = static_cast<std::int8_t>(exponent);
}

template <typename T>
__global__ void dequantize_elements(const Blocks blocks, const std::int8_t* x, T* y) {
  const BlockElement element = element_of(blocks);
  if (!element.exists) return;
  const std::int8_t* row = x + element.row * quantized_width(blocks.width);
  y[element.row * blocks.width + element.column] =
      exactly<T>(restored(row[element.column], row[blocks.width + element.block]));
}

/// The kernels of one direction.
template <typename From, typename To>
struct Kernels {
  void (*whole)(PackedRows, const From*, To*);  // an access for the 8-bit elements of a pack
  void (*by_4)(PackedRows, const From*, To*);   // or one for four of them
  void (*by_element)(Blocks, const From*, To*);
};

template <typename Rows, typename From, typename To>
Prepared over_grid(std::int64_t blocks, void (*kernel)(Rows, const From*, To*), const Rows& rows) {
  return make_kernel([=](const KernelBuffers& buffers) {
    if (blocks == 0) return;
    launch(kernel, Grid{blocks, 1, 1, kThreads}, buffers.stream, rows, buffers.operand<From>(0),
           buffers.result<To>(0));
  });
}

template <int pack, typename From, typename To>
Prepared over_rows(const TensorType& floats, const Kernels<From, To>& kernels) {
  const std::int64_t width = floats.dim(-1);
  const std::int64_t rows = width == 0 ? 0 : floats.elements() / width;
  const std::int64_t row_bytes = quantized_width(width);
  const std::int64_t packs = rows * width / pack;
  if (rows > 0 && width % kQuantizedBlock == 0 && row_bytes % 4 == 0 && packs < Divisor::kLimit) {
    const auto kernel = row_bytes % pack == 0 ? kernels.whole : kernels.by_4;
    return over_grid(divide_up(packs, std::int64_t{kInFlight * kThreads}), kernel,
                     {static_cast<std::uint32_t>(packs), Divisor(width / pack)});
  }
  const std::int64_t of_row = std::max<std::int64_t>(1, divide_up(width, kQuantizedBlock));
  const std::int64_t count = rows * of_row;
  if (count >= Divisor::kLimit) return Declined{fmt::format("{} blocks in one tensor", count)};
  return over_grid(divide_up(count, std::int64_t{kThreads / kWarp}), kernels.by_element,
                   {static_cast<std::uint32_t>(count), Divisor(of_row), width});
}

template <typename T>
Prepared quantize(const TensorType& floats) {
  constexpr int kWhole = Pack<T>::kSize;
  return over_rows<kWhole, T, std::int8_t>(
      floats, {quantize_packs<T, kWhole>, quantize_packs<T, 4>, quantize_elements<T>});
}

template <typename T>
Prepared dequantize(const TensorType& floats) {
  constexpr int kWhole = Pack<T>::kSize;
  return over_rows<kWhole, std::int8_t, T>(
      floats, {dequantize_packs<T, kWhole>, dequantize_packs<T, 4>, dequantize_elements<T>});
}

Declined other_floats(DType dtype) {
  return {fmt::format("{} numbers; this kernel does fp32 and bf16", name_of(dtype))};
}

}  // namespace

Prepared quantize_blocks(const KernelRequest& request) {
  const TensorType& floats = request.operand(0);
  if (floats.dtype == DType::fp32) return quantize<float>(floats);
  if (floats.dtype == DType::bf16) return quantize<BFloat16>(floats);
  return other_floats(floats.dtype);
}

Prepared dequantize_blocks(const KernelRequest& request) {
  const TensorType& floats = request.results[0];
  if (floats.dtype == DType::fp32) return dequantize<float>(floats);
  if (floats.dtype == DType::bf16) return dequantize<BFloat16>(floats);
  return other_floats(floats.dtype);
}

}  // namespace bessemer::kernels::cuda

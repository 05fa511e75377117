// Blocks of 32 numbers in 8 bits with a shared exponent, and back (kernels/quantized_blocks.h). All
// arithmetic is exact but the rounding of an element, so the bits are the reference's.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantize_blocks.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/quantized_blocks.h"

#ifndef BESSEMER_KERNELS_CPU_QUANTIZE_BLOCKS_ARGUMENTS
#define BESSEMER_KERNELS_CPU_QUANTIZE_BLOCKS_ARGUMENTS
namespace bessemer::kernels::cpu {

/// Rows of `width` numbers of `dtype`, and the same in quantized_width(width) bytes each.
struct QuantizedRows {
  DType dtype;
  std::int64_t width;
  const void* from;
  void* to;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

using IntegerTag = hn::RebindToSigned<FloatTag>;
using ByteTag = hn::Rebind<std::uint8_t, FloatTag>;
using SignedByteTag = hn::Rebind<std::int8_t, FloatTag>;

constexpr int kMantissa = 23, kBias = 127;  // of fp32
constexpr int kExponentOfInfinity = 255;

/// 2^exponent, for a normal one.
HWY_INLINE FloatVec power_of_two(int exponent) {
  const auto bits = static_cast<std::uint32_t>(exponent + kBias) << kMantissa;
  return hn::BitCast(FloatTag(), hn::Set(WordTag(), bits));
}

/// Calls body(i) for the vectors of a block.
template <typename Body>
HWY_INLINE void for_each_of_block(const Body& body) {
  for (std::int64_t i = 0; i < kQuantizedBlock; i += lanes()) body(i);
}

/// Blocks that are quantised together: one to a lane.
constexpr std::int64_t kGroup = hn::MaxLanes(FloatTag());

/// Lane i: the largest lane of v[i], of `count` vectors, a power of two; each vector once. (The
/// calls find Highway's functions by their arguments: the scalar target has none of them.)
template <std::int64_t count, class D>
HWY_INLINE hn::Vec<D> largest_of_each(D d, const hn::Vec<D>* v) {
  if constexpr (count == 1) {
    return v[0];
  } else {
    hn::Vec<D> pairs[count / 2];
    for (std::int64_t i = 0; i < count / 2; ++i) {
      pairs[i] = Max(ConcatEven(d, v[2 * i + 1], v[2 * i]), ConcatOdd(d, v[2 * i + 1], v[2 * i]));
    }
    return largest_of_each<count / 2>(d, pairs);
  }
}

/// The bits of a block's magnitudes, as fp32 has them, the largest of every `lanes()` of them.
template <typename T>
HWY_INLINE hn::Vec<WordTag> magnitudes(const T* x) {
  const WordTag d;
  hn::Vec<WordTag> largest = hn::Zero(d);
  for_each_of_block(
      [&](std::int64_t i) { largest = hn::Max(largest, hn::BitCast(d, hn::Abs(load(x + i)))); });
  return largest;
}

#if HWY_TARGET != HWY_SCALAR  // which has no vectors of 16 bits
/// Two numbers in a lane: what is below the upper one's bits only decides between equal ones.
HWY_INLINE hn::Vec<WordTag> magnitudes(const BFloat16* x) {
  const hn::Repartition<std::uint16_t, WordTag> d;
  const auto magnitude = hn::Set(d, 0x7fff);
  auto largest = hn::Zero(d);
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kQuantizedBlock; i += step) {
    largest = hn::Max(largest, hn::And(magnitude, hn::LoadU(d, &x[i].bits)));
  }
  const auto both = hn::BitCast(WordTag(), largest);
  return hn::Max(hn::ShiftLeft<16>(both), both);
}
#endif

/// The largest magnitude's bits of each of up to kGroup blocks, which order as magnitudes do, with
/// NaN above infinity; 0 in the other lanes. Of bf16 only the upper half of the bits counts.
template <typename T>
HWY_INLINE hn::Vec<WordTag> largest_bits(const T* x, std::int64_t blocks) {
  const WordTag d;
  hn::Vec<WordTag> largest[kGroup];
  for (std::int64_t b = 0; b < kGroup; ++b) {
    largest[b] = b < blocks ? magnitudes(x + b * kQuantizedBlock) : hn::Zero(d);
  }
  return largest_of_each<kGroup>(d, largest);
}

template <typename T>
HWY_INLINE void quantize_block(const T* x, FloatVec scale, std::int8_t* q) {
  const FloatVec most = hn::Set(FloatTag(), kLargestQuantized);
  // Added to a small number it leaves the nearest integer, ties to even, in the lowest bits.
  const FloatVec rounder = hn::Set(FloatTag(), 0x1.8p23f);
  for_each_of_block([&](std::int64_t i) {
    const FloatVec scaled = hn::Mul(load(x + i), scale);
    const FloatVec within = hn::Max(hn::Neg(most), hn::Min(scaled, most));
    const auto bits = hn::BitCast(WordTag(), hn::Add(within, rounder));
    hn::StoreU(hn::TruncateTo(ByteTag(), bits), ByteTag(), reinterpret_cast<std::uint8_t*>(q + i));
  });
}

/// Up to kGroup whole blocks and their exponents.
template <typename T>
HWY_INLINE void quantize_group(const T* x, std::int64_t blocks, std::int8_t* q,
                               std::int8_t* exponents) {
  const IntegerTag d;
  const auto biased = hn::BitCast(d, hn::ShiftRight<kMantissa>(largest_bits(x, blocks)));
  const auto exponent = hn::Max(hn::Set(d, kSmallestExponent), hn::Sub(biased, hn::Set(d, kBias)));
  const auto scale =
      hn::ShiftLeft<kMantissa>(hn::Sub(hn::Set(d, kQuantizedFraction + kBias), exponent));
  HWY_ALIGN std::int32_t exponent_of[kGroup];
  HWY_ALIGN float scale_of[kGroup];
  hn::Store(exponent, d, exponent_of);
  hn::Store(hn::BitCast(FloatTag(), scale), FloatTag(), scale_of);
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t at = b * kQuantizedBlock;
    const bool finite = exponent_of[b] < kExponentOfInfinity - kBias;
    exponents[b] = static_cast<std::int8_t>(finite ? exponent_of[b] : kNotFinite);
    if (finite) {
      quantize_block(x + at, hn::Set(FloatTag(), scale_of[b]), q + at);
    } else {
      std::memset(q + at, 0, kQuantizedBlock);
    }
  }
}

/// What came out of 8 bits has no more than bf16 has.
HWY_INLINE void store_exact(FloatVec v, float* x) { store(v, x); }
HWY_INLINE void store_exact(FloatVec v, BFloat16* x) {
  const auto high = hn::ShiftRight<16>(hn::BitCast(WordTag(), v));
  hn::StoreU(hn::TruncateTo(HalfTag(), high), HalfTag(), &x->bits);
}

template <typename T>
HWY_INLINE void dequantize_block(const std::int8_t* q, int exponent, T* x) {
  const FloatVec scale =
      exponent == kNotFinite ? hn::NaN(FloatTag()) : power_of_two(exponent - kQuantizedFraction);
  for_each_of_block([&](std::int64_t i) {
    const auto integers = hn::PromoteTo(IntegerTag(), hn::LoadU(SignedByteTag(), q + i));
    store_exact(hn::Mul(hn::ConvertTo(FloatTag(), integers), scale), x + i);
  });
}

template <typename T>
void quantize(const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = rows.width, whole = width / kQuantizedBlock * kQuantizedBlock;
  const std::int64_t rest = width - whole;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(rows.from) + row * width;
    std::int8_t* q = static_cast<std::int8_t*>(rows.to) + row * quantized_width(width);
    std::int8_t* exponents = q + width;
    const std::int64_t blocks = whole / kQuantizedBlock;
    for (std::int64_t b = 0; b < blocks; b += kGroup) {
      const std::int64_t at = b * kQuantizedBlock;
      quantize_group(x + at, std::min(kGroup, blocks - b), q + at, exponents + b);
    }
    if (rest == 0) continue;
    T padded[kQuantizedBlock] = {};
    std::int8_t quantized[kQuantizedBlock];
    std::copy_n(x + whole, rest, padded);
    quantize_group(padded, 1, quantized, exponents + blocks);
    std::copy_n(quantized, rest, q + whole);
  }
}

template <typename T>
void dequantize(const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = rows.width, whole = width / kQuantizedBlock * kQuantizedBlock;
  const std::int64_t rest = width - whole;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int8_t* q =
        static_cast<const std::int8_t*>(rows.from) + row * quantized_width(width);
    T* x = static_cast<T*>(rows.to) + row * width;
    const std::int8_t* exponents = q + width;
    for (std::int64_t i = 0; i < whole; i += kQuantizedBlock) {
      dequantize_block(q + i, *exponents++, x + i);
    }
    if (rest == 0) continue;
    T padded[kQuantizedBlock];
    std::int8_t quantized[kQuantizedBlock] = {};
    std::copy_n(q + whole, rest, quantized);
    dequantize_block(quantized, *exponents, padded);
    std::copy_n(padded, rest, x + whole);
  }
}

void quantize_rows(const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
  if (rows.dtype == DType::bf16) {
    quantize<BFloat16>(rows, begin, end);
  } else {
    quantize<float>(rows, begin, end);
  }
}

void dequantize_rows(const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
  if (rows.dtype == DType::bf16) {
    dequantize<BFloat16>(rows, begin, end);
  } else {
    dequantize<float>(rows, begin, end);
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(quantize_rows);
HWY_EXPORT(dequantize_rows);

/// `run(rows, begin, end)` over the rows of `floats`, operand or result, on the thread team.
template <typename Run>
Prepared over_rows(const KernelRequest& request, const TensorType& floats, Run run) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const std::int64_t width = floats.dim(-1);
  const std::int64_t rows = width == 0 ? 0 : floats.elements() / width;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
  return make_kernel([=, dtype = floats.dtype](const KernelBuffers& buffers) {
    const QuantizedRows all{dtype, width, buffers.operand<void>(0), buffers.result<void>(0)};
    parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) { run(all, begin, end); });
  });
}

}  // namespace

Prepared quantize_blocks(const KernelRequest& request) {
  return over_rows(request, request.operand(0),
                   [](const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
                     HWY_DYNAMIC_DISPATCH(quantize_rows)(rows, begin, end);
                   });
}

Prepared dequantize_blocks(const KernelRequest& request) {
  return over_rows(request, request.results[0],
                   [](const QuantizedRows& rows, std::int64_t begin, std::int64_t end) {
                     HWY_DYNAMIC_DISPATCH(dequantize_rows)(rows, begin, end);
                   });
}

}  // namespace bessemer::kernels::cpu
#endif

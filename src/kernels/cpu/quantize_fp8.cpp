// Matrices in 8-bit floating point, and the largest magnitude that their scales follow
// (kernels/fp8.h). Worked in tiles of 128 x 128, which are blocks of every kind; the maximum knows
// no order and the rest is exact but the rounding of an element, so the bits are the reference's.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantize_fp8.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/fp8.h"
#include "kernels/prepare.h"

#ifndef BESSEMER_KERNELS_CPU_QUANTIZE_FP8_ARGUMENTS
#define BESSEMER_KERNELS_CPU_QUANTIZE_FP8_ARGUMENTS
namespace bessemer::kernels::cpu {

/// A matrix and what is made of it; transposed results and `partial` may be null.
struct Fp8Task {
  DType from, format;
  Fp8Block block;
  MatrixSize size;
  const void* x;
  float amax;  // of the tensor, with that block
  std::uint8_t *q, *q_transposed;
  float *scale, *scale_transposed;
  float* partial;  // the largest magnitude of each tile

  std::int64_t tile_columns() const { return divide_up(size.columns, kFp8Block); }
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

using ByteTag = hn::Rebind<std::uint8_t, FloatTag>;
using WordVec = hn::Vec<WordTag>;

/// Bits of magnitudes order as magnitudes do, with NaN above infinity.
HWY_INLINE WordVec magnitude_bits(FloatVec v) { return hn::BitCast(WordTag(), hn::Abs(v)); }

template <typename T>
HWY_INLINE float largest_of(const T* x, std::int64_t count) {
  const WordTag d;
  WordVec largest = hn::Zero(d);
  for_each_vector(0, count, [&](std::int64_t i, auto access) {
    largest = hn::Max(largest, magnitude_bits(access.load(x + i)));
  });
  const FloatVec of_lanes = hn::BitCast(FloatTag(), hn::MaxOfLanes(d, largest));
  return hn::GetLane(of_lanes);
}

/// The codes of `v`, in the low byte of each lane, as Float8(float) makes them.
template <typename Float8>
HWY_INLINE WordVec fp8_bits(FloatVec v) {
  constexpr int kMantissa = std::is_same_v<Float8, Fp8E4M3> ? 3 : 2, kShift = 23 - kMantissa;
  constexpr std::uint32_t kBias = std::is_same_v<Float8, Fp8E4M3> ? 7 : 15;
  constexpr std::uint32_t kRebias = (127 - kBias) << 23;
  constexpr std::uint32_t kUnit = (128 - kBias - kMantissa + 23) << 23;  // of the subnormal adder
  const WordTag d;
  const auto magnitude = magnitude_bits(v);
  const auto sign = hn::ShiftRight<24>(hn::AndNot(hn::Set(d, 0x7fffffffu), hn::BitCast(d, v)));
  const auto odd = hn::And(hn::ShiftRight<kShift>(magnitude), hn::Set(d, 1u));
  const auto rounding = hn::Add(odd, hn::Set(d, (1u << (kShift - 1)) - 1 - kRebias));
  const auto normal = hn::ShiftRight<kShift>(hn::Add(magnitude, rounding));
  const auto unit = hn::Set(d, kUnit);
  const auto shifted = hn::Add(hn::BitCast(FloatTag(), magnitude), hn::BitCast(FloatTag(), unit));
  const auto small = hn::Sub(hn::BitCast(d, shifted), unit);
  const auto is_small = hn::Lt(magnitude, hn::Set(d, kRebias + (1u << 23)));
  constexpr std::uint32_t kLargest = Float8(Float8::largest()).bits;
  const auto finite = hn::Min(hn::IfThenElse(is_small, small, normal), hn::Set(d, kLargest));
  const auto is_nan = hn::Gt(magnitude, hn::Set(d, 0x7f800000u));
  return hn::IfThenElse(is_nan, hn::Set(d, 0x7fu), hn::Or(sign, finite));
}

/// to[i] = x[i] * inverse(i), in 8 bits.
template <typename Float8, typename T, typename Inverse>
HWY_INLINE void encode(const T* x, std::int64_t count, const Inverse& inverse, std::uint8_t* to) {
  for_each_vector(0, count, [&](std::int64_t i, auto access) {
    const auto codes = fp8_bits<Float8>(hn::Mul(access.load(x + i), inverse(i, access)));
    HWY_ALIGN std::uint8_t bytes[HWY_MAX_BYTES / 4];
    hn::Store(hn::TruncateTo(ByteTag(), codes), ByteTag(), bytes);
    std::memcpy(to + i, bytes, static_cast<std::size_t>(std::min(lanes(), count - i)));
  });
}

/// One tile, from row `row` and column `column` on.
template <typename Float8, typename T>
class Tile {
 public:
  Tile(const Fp8Task& task, std::int64_t row, std::int64_t column)
      : task_(task),
        row_(row),
        column_(column),
        rows_(std::min(kFp8Block, task.size.rows - row)),
        columns_(std::min(kFp8Block, task.size.columns - column)),
        x_(static_cast<const T*>(task.x) + row * task.size.columns + column) {}

  void run() {
    measure_rows();
    encode_rows();
    if (task_.q_transposed == nullptr) return;
    if (task_.block == Fp8Block::row) encode_columns();
    store_transposed();
  }

  float largest() const {
    float all = 0;
    for (std::int64_t r = 0; r < rows_; ++r) all = larger(all, largest_[r]);
    return all;
  }

 private:
  static float larger(float a, float b) { return b > a || std::isnan(b) ? b : a; }

  Fp8Scale scale_of(float amax) const { return fp8_scale(amax, Float8::largest()); }
  const T* row(std::int64_t r) const { return x_ + r * task_.size.columns; }

  void measure_rows() {
    if (task_.block == Fp8Block::tensor && task_.partial == nullptr) return;
    for (std::int64_t r = 0; r < rows_; ++r) largest_[r] = largest_of(row(r), columns_);
  }

  void encode_rows() {
    Fp8Scale scale = scale_of(task_.block == Fp8Block::tensor ? task_.amax : largest());
    if (task_.block == Fp8Block::square) store_square(scale.scale);
    for (std::int64_t r = 0; r < rows_; ++r) {
      if (task_.block == Fp8Block::row) {
        scale = scale_of(largest_[r]);
        task_.scale[fp8_scale_index(Fp8Block::row, task_.size, row_ + r, column_)] = scale.scale;
      }
      std::uint8_t* to = task_.q + (row_ + r) * task_.size.columns + column_;
      const FloatVec inverse = hn::Set(FloatTag(), scale.inverse);
      encode<Float8>(
          row(r), columns_, [&](std::int64_t, auto) { return inverse; }, to);
      if (task_.q_transposed != nullptr)
        std::memcpy(codes_[r], to, static_cast<std::size_t>(columns_));
    }
  }

  void store_square(float scale) {
    const MatrixSize turned{task_.size.columns, task_.size.rows};
    task_.scale[fp8_scale_index(Fp8Block::square, task_.size, row_, column_)] = scale;
    if (task_.scale_transposed != nullptr) {
      task_.scale_transposed[fp8_scale_index(Fp8Block::square, turned, column_, row_)] = scale;
    }
  }

  // Blocks of the transpose: each column of the tile with a scale of its own.
  void encode_columns() {
    alignas(64) float largest[kFp8Block], inverse[kFp8Block];
    for_each_vector(0, columns_, [&](std::int64_t c, auto access) {
      WordVec most = hn::Zero(WordTag());
      for (std::int64_t r = 0; r < rows_; ++r) {
        most = hn::Max(most, magnitude_bits(access.load(row(r) + c)));
      }
      access.store(hn::BitCast(FloatTag(), most), largest + c);
    });
    const MatrixSize turned{task_.size.columns, task_.size.rows};
    for (std::int64_t c = 0; c < columns_; ++c) {
      const Fp8Scale scale = scale_of(largest[c]);
      inverse[c] = scale.inverse;
      task_.scale_transposed[fp8_scale_index(Fp8Block::row, turned, column_ + c, row_)] =
          scale.scale;
    }
    for (std::int64_t r = 0; r < rows_; ++r) {
      encode<Float8>(
          row(r), columns_, [&](std::int64_t c, auto access) { return access.load(inverse + c); },
          codes_[r]);
    }
  }

  void store_transposed() const {
    for (std::int64_t c = 0; c < columns_; ++c) {
      std::uint8_t* to = task_.q_transposed + (column_ + c) * task_.size.rows + row_;
      for (std::int64_t r = 0; r < rows_; ++r) to[r] = codes_[r][c];
    }
  }

  const Fp8Task& task_;
  std::int64_t row_, column_, rows_, columns_;
  const T* x_;
  float largest_[kFp8Block] = {};                  // of each row
  std::uint8_t codes_[kFp8Block][kFp8Block] = {};  // what is stored transposed
};

template <typename Float8, typename T>
void quantize_tiles_of(const Fp8Task& task, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    Tile<Float8, T> tile(task, i / task.tile_columns() * kFp8Block,
                         i % task.tile_columns() * kFp8Block);
    tile.run();
    if (task.partial != nullptr) task.partial[i] = tile.largest();
  }
}

template <typename Float8>
void quantize_tiles_in(const Fp8Task& task, std::int64_t begin, std::int64_t end) {
  task.from == DType::bf16 ? quantize_tiles_of<Float8, BFloat16>(task, begin, end)
                           : quantize_tiles_of<Float8, float>(task, begin, end);
}

void quantize_tiles(const Fp8Task& task, std::int64_t begin, std::int64_t end) {
  task.format == DType::fp8_e4m3 ? quantize_tiles_in<Fp8E4M3>(task, begin, end)
                                 : quantize_tiles_in<Fp8E5M2>(task, begin, end);
}

float largest_of_run(const void* x, DType dtype, std::int64_t begin, std::int64_t end) {
  return dtype == DType::bf16 ? largest_of(static_cast<const BFloat16*>(x) + begin, end - begin)
                              : largest_of(static_cast<const float*>(x) + begin, end - begin);
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(quantize_tiles);
HWY_EXPORT(largest_of_run);

float largest_partial(const float* partials, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (partials[i] > largest || std::isnan(partials[i])) largest = partials[i];
    if (std::isnan(largest)) break;
  }
  return largest;
}

/// What pads the rows of a matrix of scales is 1.
void pad_scales(Fp8Block block, MatrixSize size, float* scale) {
  if (block != Fp8Block::square || scale == nullptr) return;
  const std::int64_t blocks = size.columns / kFp8Block, width = round_up(blocks, std::int64_t{4});
  for (std::int64_t r = 0; r < size.rows / kFp8Block; ++r) {
    std::fill(scale + r * width + blocks, scale + (r + 1) * width, 1.0f);
  }
}

}  // namespace

Prepared amax(const KernelRequest& request) {
  if (request.attributes.find("program") != nullptr) {
    return Declined{"fused with what makes the tensor; this kernel measures"};
  }
  const TensorType& x = request.operand(0);
  const DType dtype = x.dtype;
  const std::int64_t elements = x.elements(), runs = divide_up(elements, kGrain);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* partials = static_cast<float*>(buffers.scratch);
        parallel_for(runs, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            partials[i] = HWY_DYNAMIC_DISPATCH(largest_of_run)(
                buffers.operand<void>(0), dtype, i * kGrain, std::min(elements, (i + 1) * kGrain));
          }
        });
        *buffers.result<float>(0) = largest_partial(partials, runs);
      },
      float_bytes(runs));
}

Prepared quantize_fp8(const KernelRequest& request) {
  const QuantizeFp8Use use(request.attributes);
  if (!use.program.empty() || use.keep || use.sum) {
    return Declined{"fused with what makes the tensor, or with its sum; this kernel quantizes"};
  }
  Fp8Task task{};
  task.from = request.operand(0).dtype;
  task.format = request.results[0].dtype;
  task.block = use.block;
  task.size = matrix_size(request.operand(0));
  const std::int64_t tiles = fp8_tiles(task.size);
  return make_kernel([=](const KernelBuffers& buffers) {
    Fp8Task here = task;
    here.x = buffers.operand<void>(0);
    here.q = buffers.result<std::uint8_t>(use.q(0));
    here.scale = buffers.result<float>(use.scale(0));
    if (use.transposed) here.q_transposed = buffers.result<std::uint8_t>(use.q_t(0));
    if (use.has_scale_t()) here.scale_transposed = buffers.result<float>(use.scale_t(0));
    if (use.measure) here.partial = buffers.result<float>(use.amax(0));
    if (use.block == Fp8Block::tensor) {
      here.amax = known_amax(buffers.operand<float>(1)[use.indices[0]], use.assumed);
      *here.scale = fp8_scale(here.amax, largest_fp8(task.format)).scale;
    }
    pad_scales(task.block, task.size, here.scale);
    pad_scales(task.block, {task.size.columns, task.size.rows}, here.scale_transposed);
    parallel_for(tiles, 1, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(quantize_tiles)(here, begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif

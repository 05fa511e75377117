// quantize_fp8 of a tensor that lies in memory: it is read once, of bf16 2 bytes an element, and 1
// or with the transpose 2 are written (quantize_tile.cuh). What a program makes is quantized as it
// is made (quantize_program.cu). Tensors whose rows are no multiples of 16 go an element a thread;
// no model has such.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/quantize_program.h"
#include "kernels/cuda/quantize_tile.cuh"

namespace bessemer::kernels::cuda {
namespace {

using namespace quantize;

template <typename T>
struct FromMemory {
  using Type = T;
  static constexpr int kValues = 1;
  const T* x;

  __device__ void load(const Place& place, MatrixSize size, Value<T> (&values)[1]) const {
    Own<T> own = {};
    for (int i = 0; i < kRows; ++i) {
      if (place.exists(i, size)) own.x[i] = load_run<kColumns>(x + place.offset(i, size));
    }
    for (int i = 0; i < kRows; ++i) values[0].set_row(i, own.x[i]);
  }
};

/// The scale of a square, and ones where its row of squares ends.
__device__ inline void store_scale(float* scales, MatrixSize size, std::int64_t row,
                                   std::int64_t column, float scale) {
  const std::int64_t at = fp8_scale_index(Fp8Block::square, size, row, column);
  scales[at] = scale;
  if (column + kTile < size.columns) return;
  const std::int64_t squares = size.columns / kTile;
  for (std::int64_t i = squares; i < round_up(squares, std::int64_t{4}); ++i) {
    scales[at + 1 + i - squares] = 1.0f;
  }
}

/// A scale a tile.
template <typename Source, typename Format, bool kTransposed>
__global__ void __launch_bounds__(kThreads)
    quantize_squares(const Source source, const Targets<typename Source::Type, Format, 1> to) {
  Shared& shared = shared_of<Source>();
  const Place place(to.size);
  const auto& target = to.of[0];
  ValuesOf<Source> values;
  load_values(source, place, to.size, values);
  const Magnitude largest = block_max(values[0].own().largest(), Magnitude{0});
  const Fp8Scale scale = fp8_scale(number(largest), Format::largest());
  if (threadIdx.x == 0) {
    store_scale(target.scale, to.size, place.tile_row, place.tile_column, scale.scale);
    if (kTransposed) {
      const MatrixSize turned{to.size.columns, to.size.rows};
      store_scale(target.scale_t, turned, place.tile_column, place.tile_row, scale.scale);
    }
  }
  store_with<kTransposed>(target, place, to.size, values[0], scale.inverse, shared);
  store_more(target, place, to.size, values[0], shared);
}

/// One scale, rows of any length: a block goes over its tile an element a thread.
template <typename T, typename Format>
__global__ void __launch_bounds__(kThreads)
    quantize_elements(const T* x, MatrixSize size, float assumed, const Target<T, Format> to) {
  const Place place(size);
  const Fp8Scale scale = fp8_scale(known_amax(*to.amax, assumed), Format::largest());
  if (blockIdx.x == 0 && threadIdx.x == 0) *to.scale = scale.scale;
  Magnitude largest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kThreads) {
    const std::int64_t row = place.tile_row + i / kTile, column = place.tile_column + i % kTile;
    if (row >= size.rows || column >= size.columns) continue;
    const float own = to_float(x[row * size.columns + column]);
    const Format q(own * scale.inverse);
    to.q[row * size.columns + column] = q;
    if (to.q_t != nullptr) to.q_t[column * size.rows + row] = q;
    largest = std::max(largest, magnitude(own));
  }
  if (to.maxima == nullptr) return;
  largest = block_max(largest, Magnitude{0});
  if (threadIdx.x == 0) to.maxima[blockIdx.x] = number(largest);
}

template <typename T, typename Format>
Prepared prepare_elements(const Tiling& tiling) {
  return make_kernel([tiling](const KernelBuffers& buffers) {
    launch(quantize_elements<T, Format>, Grid{fp8_tiles(tiling.size), 1, 1, kThreads},
           buffers.stream, buffers.operand<T>(0), tiling.size, tiling.use.assumed,
           target<T, Format>(buffers, tiling, 0));
  });
}

template <typename T, typename Format, bool kTransposed>
Prepared prepare_tiles(const Tiling& tiling) {
  using Source = FromMemory<T>;
  const auto kernel = tiling.use.block == Fp8Block::row ? quantize_rows<Source, Format, kTransposed>
                      : tiling.use.block == Fp8Block::square
                          ? quantize_squares<Source, Format, kTransposed>
                          : quantize_tensor<Source, Format, kTransposed>;
  return quantize::prepare<Format>(
      kernel, tiling, [](const KernelBuffers& buffers) { return Source{buffers.operand<T>(0)}; });
}

template <typename T, typename Format>
Prepared prepare_for(const Tiling& tiling) {
  const bool whole_accesses =
      tiling.size.columns % kColumns == 0 && (!tiling.use.transposed || tiling.size.rows % 16 == 0);
  if (!whole_accesses) {
    if (tiling.use.sum) return Declined{"sums of rows that are no multiple of 16 elements"};
    return prepare_elements<T, Format>(tiling);
  }
  return tiling.use.transposed ? prepare_tiles<T, Format, true>(tiling)
                               : prepare_tiles<T, Format, false>(tiling);
}

}  // namespace

Prepared quantize_fp8(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const Tiling tiling{QuantizeFp8Use(request.attributes), matrix_size(x)};
  if (x.elements() == 0) return Declined{"no elements"};
  if (!tiling.use.program.empty()) return quantize_program(request);
  if (tiling.use.keep) return Declined{"operand 0 is there already"};
  return of_dtype(x.dtype, [&]<typename T>(T) {
    return request.results[0].dtype == DType::fp8_e4m3 ? prepare_for<T, Fp8E4M3>(tiling)
                                                       : prepare_for<T, Fp8E5M2>(tiling);
  });
}

}  // namespace bessemer::kernels::cuda

// quantize_fp8: x is read once and each of q and its transpose written once, all 16 bytes at a
// time: of bf16 4 bytes an element with the transpose, 3 without. A block has a tile of 128 x 128,
// which holds the whole of every block of 1x128, of 128x1 and of 128x128 that it meets; a thread
// keeps 4 rows of 16 columns of it in registers until the scales are known. The transpose goes
// through shared memory as words of 4 rows, which are laid out so that neither side meets a bank
// twice. Tensors whose rows are no multiples of 16 go an element a thread; no model has such.
#include <algorithm>

#include <fmt/format.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/largest.cuh"
#include "kernels/fp8.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 128;                 // rows and columns
constexpr int kRows = 4, kColumns = 16;    // of a thread
constexpr int kAcross = kTile / kColumns;  // threads that share a row
constexpr int kGroups = kTile / kRows;     // groups of rows, of a thread each
static_assert(kAcross * kGroups == kThreads && kTile == kFp8Block);
static_assert(kRows == Pack<Magnitude>::kSize);

/// Operands and results; q_t, scale_t and parts are null where they are not asked for.
template <typename T, typename Format>
struct Quantize {
  const T* x;
  const float* amax;
  float assumed;
  MatrixSize size;
  Format* q;
  float* scale;
  Format* q_t;
  float* scale_t;
  Magnitude* parts;  // the largest magnitude of each block of threads
};

/// What a thread has of a tile.
template <typename T>
struct Own {
  int group, across;                   // which rows and which columns
  std::int64_t tile_row, tile_column;  // where the tile begins
  Run<T, kColumns> x[kRows];

  template <typename Format>
  __device__ explicit Own(const Quantize<T, Format>& of)
      : group(static_cast<int>(threadIdx.x) / kAcross),
        across(static_cast<int>(threadIdx.x) % kAcross) {
    const std::int64_t tiles = (of.size.columns + kTile - 1) / kTile;
    tile_row = blockIdx.x / tiles * kTile;
    tile_column = blockIdx.x % tiles * kTile;
    for (int i = 0; i < kRows; ++i) {
      if (row(i) < of.size.rows && column() < of.size.columns) {
        x[i] = load_run<kColumns>(of.x + row(i) * of.size.columns + column());
      } else {
        x[i] = {};
      }
    }
  }

  __device__ std::int64_t row(int i) const { return tile_row + group * kRows + i; }
  __device__ std::int64_t column() const { return tile_column + across * kColumns; }
  __device__ float at(int i, int j) const { return to_float(x[i].at[j]); }
  __device__ Magnitude largest_of_row(int i) const {
    Magnitude largest = 0;
    for (int j = 0; j < kColumns; ++j) largest = std::max(largest, magnitude(at(i, j)));
    return largest;
  }
  __device__ Magnitude largest_of_column(int j) const {
    Magnitude largest = 0;
    for (int i = 0; i < kRows; ++i) largest = std::max(largest, magnitude(at(i, j)));
    return largest;
  }
  __device__ Magnitude largest() const {
    Magnitude all = 0;
    for (int i = 0; i < kRows; ++i) all = std::max(all, largest_of_row(i));
    return all;
  }
};

/// The words of a tile that is turned: word w of column c holds rows 4w to 4w + 3. Columns of other
/// threads of a warp are moved by other multiples of 16 bytes.
struct TurnedTile {
  alignas(16) std::uint32_t words[kTile][kGroups];

  __device__ std::uint32_t& word(int column, int group) {
    return words[column][group ^ (column / kColumns * kRows)];
  }
  /// Rows 16 * chunk to 16 * chunk + 15.
  __device__ Pack<std::uint32_t> chunk(int column, int chunk) const {
    return load_pack(&words[column][(chunk ^ (column / kColumns)) * kRows]);
  }
};

template <typename T, typename Format>
__device__ void store_rows(const Quantize<T, Format>& of, const Own<T>& own,
                           const float (&inverse)[kRows]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (own.row(i) >= of.size.rows || own.column() >= of.size.columns) continue;
    Pack<std::uint32_t> codes;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      codes.at[w] =
          to_fp8<Format>(own.at(i, 4 * w) * inverse[i], own.at(i, 4 * w + 1) * inverse[i],
                         own.at(i, 4 * w + 2) * inverse[i], own.at(i, 4 * w + 3) * inverse[i]);
    }
    Format* to = of.q + own.row(i) * of.size.columns + own.column();
    store_pack(reinterpret_cast<std::uint32_t*>(to), codes);
  }
}

/// All threads of the block call it. inverse(j): of the scale of own column j.
template <typename T, typename Format, typename Inverse>
__device__ void store_turned(const Quantize<T, Format>& of, const Own<T>& own,
                             const Inverse& inverse) {
  __shared__ TurnedTile tile;
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const float by = inverse(j);
    tile.word(own.across * kColumns + j, own.group) =
        to_fp8<Format>(own.at(0, j) * by, own.at(1, j) * by, own.at(2, j) * by, own.at(3, j) * by);
  }
  sync_block();
  constexpr int kChunks = kTile / 16;  // of a column
  for (int i = 0; i < kTile * kChunks / kThreads; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const int column = index / kChunks, chunk = index % kChunks;
    const std::int64_t to_row = own.tile_column + column, to_column = own.tile_row + chunk * 16;
    if (to_row >= of.size.columns || to_column >= of.size.rows) continue;
    Format* to = of.q_t + to_row * of.size.rows + to_column;
    store_pack(reinterpret_cast<std::uint32_t*>(to), tile.chunk(column, chunk));
  }
}

/// All threads of the block call it.
template <typename T, typename Format>
__device__ void measure(const Quantize<T, Format>& of, const Own<T>& own) {
  if (of.parts == nullptr) return;
  const Magnitude largest = block_max(own.largest(), Magnitude{0});
  if (threadIdx.x == 0) of.parts[blockIdx.x] = largest;
}

template <typename T, typename Format, bool transposed>
__device__ void store_with(const Quantize<T, Format>& of, const Own<T>& own, float by) {
  const float inverse[kRows] = {by, by, by, by};
  store_rows(of, own, inverse);
  if constexpr (transposed) store_turned(of, own, [by](int) { return by; });
}

/// One scale, of a given amax.
template <typename T, typename Format, bool transposed>
__global__ void __launch_bounds__(kThreads) quantize_tensor(const Quantize<T, Format> of) {
  const Own<T> own(of);
  const Fp8Scale scale = fp8_scale(known_amax(*of.amax, of.assumed), Format::largest());
  if (blockIdx.x == 0 && threadIdx.x == 0) *of.scale = scale.scale;
  store_with<T, Format, transposed>(of, own, scale.inverse);
  measure(of, own);
}

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
template <typename T, typename Format, bool transposed>
__global__ void __launch_bounds__(kThreads) quantize_squares(const Quantize<T, Format> of) {
  const Own<T> own(of);
  const Magnitude largest = block_max(own.largest(), Magnitude{0});
  const Fp8Scale scale = fp8_scale(number(largest), Format::largest());
  if (threadIdx.x == 0) {
    store_scale(of.scale, of.size, own.tile_row, own.tile_column, scale.scale);
    if (transposed) {
      const MatrixSize turned{of.size.columns, of.size.rows};
      store_scale(of.scale_t, turned, own.tile_column, own.tile_row, scale.scale);
    }
    if (of.parts != nullptr) of.parts[blockIdx.x] = largest;
  }
  store_with<T, Format, transposed>(of, own, scale.inverse);
}

/// The maxima of what each thread has of a row, and of a column. Columns stand in slots, those of
/// the threads of a warp side by side, so that no bank is met twice.
struct TileMaxima {
  alignas(16) Magnitude of_rows[kAcross][kTile];
  Magnitude of_columns[kGroups][kTile + kAcross];

  static __device__ int slot(int across, int j) { return j * kAcross + across; }
  static __device__ int column(int slot) { return slot % kAcross * kColumns + slot / kAcross; }

  /// Of the rows of a group.
  __device__ Pack<Magnitude> rows(int group) const {
    Pack<Magnitude> largest = {};
    for (int a = 0; a < kAcross; ++a) {
      const Pack<Magnitude> part = load_pack(&of_rows[a][group * kRows]);
      for (int i = 0; i < kRows; ++i) largest.at[i] = std::max(largest.at[i], part.at[i]);
    }
    return largest;
  }
  __device__ Magnitude in_slot(int slot) const {
    Magnitude largest = 0;
    for (int g = 0; g < kGroups; ++g) largest = std::max(largest, of_columns[g][slot]);
    return largest;
  }
};

/// The inverses of the scales of the rows of a thread.
template <typename T, typename Format>
__device__ void scale_rows(const Quantize<T, Format>& of, const Own<T>& own,
                           const TileMaxima& maxima, float (&inverse)[kRows]) {
  const Pack<Magnitude> largest = maxima.rows(own.group);
  for (int i = 0; i < kRows; ++i) {
    const Fp8Scale scale = fp8_scale(number(largest.at[i]), Format::largest());
    inverse[i] = scale.inverse;
    if (own.across == 0 && own.row(i) < of.size.rows) {
      of.scale[own.tile_column / kTile * of.size.rows + own.row(i)] = scale.scale;
    }
  }
}

/// All threads of the block call it: the inverses of the scales of the columns, by slot.
template <typename T, typename Format>
__device__ void scale_columns(const Quantize<T, Format>& of, const Own<T>& own,
                              const TileMaxima& maxima, float (&inverse)[kTile]) {
  const int slot = static_cast<int>(threadIdx.x);
  if (slot < kTile) {
    const Fp8Scale scale = fp8_scale(number(maxima.in_slot(slot)), Format::largest());
    inverse[slot] = scale.inverse;
    const std::int64_t column = own.tile_column + TileMaxima::column(slot);
    of.scale_t[own.tile_row / kTile * of.size.columns + column] = scale.scale;
  }
  sync_block();
}

/// A scale a row of the tile, and one a column for the transpose.
template <typename T, typename Format, bool transposed>
__global__ void __launch_bounds__(kThreads) quantize_rows(const Quantize<T, Format> of) {
  __shared__ TileMaxima maxima;
  const Own<T> own(of);
  Pack<Magnitude> of_rows;
  for (int i = 0; i < kRows; ++i) of_rows.at[i] = own.largest_of_row(i);
  store_pack(&maxima.of_rows[own.across][own.group * kRows], of_rows);
  if constexpr (transposed) {
    for (int j = 0; j < kColumns; ++j) {
      const int slot = TileMaxima::slot(own.across, j);
      maxima.of_columns[own.group][slot] = own.largest_of_column(j);
    }
  }
  sync_block();
  float inverse[kRows];
  scale_rows(of, own, maxima, inverse);
  store_rows(of, own, inverse);
  if constexpr (transposed) {
    __shared__ float of_slots[kTile];
    scale_columns(of, own, maxima, of_slots);
    store_turned(of, own, [&](int j) { return of_slots[TileMaxima::slot(own.across, j)]; });
  }
  measure(of, own);
}

/// One scale, rows of any length.
template <typename T, typename Format, bool transposed>
__global__ void __launch_bounds__(kThreads) quantize_elements(const Quantize<T, Format> of) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const bool exists = i < of.size.rows * of.size.columns;
  const float x = exists ? to_float(of.x[i]) : 0.0f;
  const Fp8Scale scale = fp8_scale(known_amax(*of.amax, of.assumed), Format::largest());
  if (i == 0) *of.scale = scale.scale;
  if (exists) {
    const Format q(x * scale.inverse);
    of.q[i] = q;
    if (transposed) of.q_t[i % of.size.columns * of.size.rows + i / of.size.columns] = q;
  }
  if (of.parts == nullptr) return;
  const Magnitude largest = block_max(magnitude(x), Magnitude{0});
  if (threadIdx.x == 0) of.parts[blockIdx.x] = largest;
}

/// A use of the op: which results it has, and where they stand.
struct Use {
  MatrixSize size;
  Fp8Block block;
  bool transposed, measured;
  std::int64_t index;  // of its number in the operand amax
  float assumed;

  /// Whether each row is made of whole accesses.
  bool is_tiled() const {
    return size.columns % kColumns == 0 && (!transposed || size.rows % 16 == 0);
  }
  std::int64_t blocks() const {
    const auto tiles = [](std::int64_t n) { return divide_up(n, std::int64_t{kTile}); };
    return is_tiled() ? tiles(size.rows) * tiles(size.columns)
                      : divide_up(size.rows * size.columns, std::int64_t{kThreads});
  }
  std::size_t amax_result() const {
    return 2 + (transposed ? (block == Fp8Block::tensor ? 1 : 2) : 0);
  }
};

template <typename T, typename Format, bool transposed>
Prepared prepare(const Use& use) {
  const auto kernel = use.block == Fp8Block::row      ? quantize_rows<T, Format, transposed>
                      : use.block == Fp8Block::square ? quantize_squares<T, Format, transposed>
                      : use.is_tiled()                ? quantize_tensor<T, Format, transposed>
                                                      : quantize_elements<T, Format, transposed>;
  const std::int64_t blocks = use.blocks();
  const bool has_scale_t = transposed && use.block != Fp8Block::tensor;
  const auto run = [=](const KernelBuffers& buffers) {
    auto* parts = use.measured ? static_cast<Magnitude*>(buffers.scratch) : nullptr;
    const Quantize<T, Format> of{buffers.operand<T>(0),
                                 buffers.operand<float>(1) + use.index,
                                 use.assumed,
                                 use.size,
                                 buffers.result<Format>(0),
                                 buffers.result<float>(1),
                                 transposed ? buffers.result<Format>(2) : nullptr,
                                 has_scale_t ? buffers.result<float>(3) : nullptr,
                                 parts};
    launch(kernel, Grid{blocks, 1, 1, kThreads}, buffers.stream, of);
    if (!use.measured) return;
    auto* amax = buffers.result<float>(use.amax_result());
    launch_largest_of(parts, blocks, amax, buffers.stream);
  };
  return make_kernel(run, use.measured ? static_cast<std::size_t>(blocks) * sizeof(Magnitude) : 0);
}

template <typename T, typename Format>
Prepared prepare_for(const Use& use) {
  return use.transposed ? prepare<T, Format, true>(use) : prepare<T, Format, false>(use);
}

}  // namespace

Prepared quantize_fp8(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const Attributes& attributes = request.attributes;
  const Use use{matrix_size(x),
                *parse_fp8_block(attributes.text("block")),
                attributes.boolean("transposed", false),
                attributes.boolean("measure", false),
                attributes.integer("index", 0),
                static_cast<float>(attributes.real("assumed", 0))};
  if (x.elements() == 0) return Declined{"no elements"};
  return of_dtype(x.dtype, [&]<typename T>(T) {
    return request.results[0].dtype == DType::fp8_e4m3 ? prepare_for<T, Fp8E4M3>(use)
                                                       : prepare_for<T, Fp8E5M2>(use);
  });
}

}  // namespace bessemer::kernels::cuda

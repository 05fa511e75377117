// What quantizes a tensor tile by tile, wherever the tensor comes from: memory, or the kernel that
// computes it as it goes. Each of q and its transpose is written once, 16 bytes at a time. A block
// has a tile of 128 x 128, which holds the whole of every block of 1x128, of 128x1 and of 128x128
// that it meets; a thread has 4 rows of 16 columns of it, in a part of the shared memory that is
// its own: they are looked at several times, and would fill its registers. The transpose goes
// through shared memory as words of 4 rows, which are laid out so that neither side meets a bank
// twice.
//
// A Source of elements of `Type` makes `kValues` tensors of one shape at once, each quantized for
// itself: load(place, size, values) gives each what the thread has of it, rounded to Type, and
// zeros beyond the end.
#pragma once

#include <algorithm>
#include <vector>

#include "base/rounding.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/ordered_sum.cuh"
#include "kernels/fp8.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda::quantize {

inline constexpr int kThreads = 256;
inline constexpr int kTile = 128;                 // rows and columns
inline constexpr int kRows = 4, kColumns = 16;    // of a thread
inline constexpr int kAcross = kTile / kColumns;  // threads that share a row
inline constexpr int kGroups = kTile / kRows;     // groups of rows, of a thread each
static_assert(kAcross * kGroups == kThreads && kTile == kFp8Block);
static_assert(kRows == Pack<Magnitude>::kSize);

/// What is made of a value; null where it is not asked for.
template <typename T, typename Format>
struct Target {
  const float* amax;
  T* y;
  Format* q;
  float* scale;
  Format* q_t;
  float* scale_t;
  float* sums;    // [tiles of rows, columns]: of each column of a tile
  float* maxima;  // of each tile
};

template <typename T, typename Format, int kValues>
struct Targets {
  MatrixSize size;
  float assumed;
  Target<T, Format> of[kValues];
};

/// Where a thread's part of a tile lies.
struct Place {
  int group, across;                   // which rows and which columns
  std::int64_t tile_row, tile_column;  // where the tile begins

  __device__ explicit Place(MatrixSize size)
      : group(static_cast<int>(threadIdx.x) / kAcross),
        across(static_cast<int>(threadIdx.x) % kAcross) {
    const std::int64_t tiles = (size.columns + kTile - 1) / kTile;
    tile_row = blockIdx.x / tiles * kTile;
    tile_column = blockIdx.x % tiles * kTile;
  }
  __device__ std::int64_t row(int i) const { return tile_row + group * kRows + i; }
  __device__ std::int64_t column() const { return tile_column + across * kColumns; }
  __device__ bool exists(int i, MatrixSize size) const {
    return row(i) < size.rows && column() < size.columns;
  }
  /// Of the first column of row i.
  __device__ std::int64_t offset(int i, MatrixSize size) const {
    return row(i) * size.columns + column();
  }
};

/// What a thread has of a value's tile, while it looks at it.
template <typename T>
struct Own {
  Run<T, kColumns> x[kRows];

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

/// Where it is between. Packs of 16 bytes lie side by side for the threads of a warp.
template <typename T>
class Value {
 public:
  static constexpr std::size_t kBytes = kTile * kTile * sizeof(T);

  /// Value number `index` of those of a kernel.
  __device__ explicit Value(int index = 0)
      : packs_(reinterpret_cast<Pack<T>*>(shared_memory<std::byte>() + index * kBytes) +
               threadIdx.x) {}

  __device__ void set_row(int i, const Run<T, kColumns>& row) {
    for (int c = 0; c < kPacks; ++c) {
      Pack<T> pack;
      for (int e = 0; e < pack.kSize; ++e) pack.at[e] = row.at[c * pack.kSize + e];
      packs_[(i * kPacks + c) * kThreads] = pack;
    }
  }
  __device__ Own<T> own() const {
    Own<T> own;
    for (int i = 0; i < kRows; ++i) {
      for (int c = 0; c < kPacks; ++c) {
        const Pack<T> pack = packs_[(i * kPacks + c) * kThreads];
        for (int e = 0; e < pack.kSize; ++e) own.x[i].at[c * pack.kSize + e] = pack.at[e];
      }
    }
    return own;
  }

 private:
  static constexpr int kPacks = kColumns / Pack<T>::kSize;  // of a row
  Pack<T>* packs_;
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

/// A number for each column of a tile and group of rows. Columns stand in slots, those of the
/// threads of a warp side by side, so that no bank is met twice.
template <typename Number>
struct OfColumns {
  Number at[kGroups][kTile + kAcross];

  static __device__ int slot(int across, int j) { return j * kAcross + across; }
  static __device__ int column(int slot) { return slot % kAcross * kColumns + slot / kAcross; }
};

/// The maxima of what each thread has of a row, and of a column.
struct TileMaxima {
  alignas(16) Magnitude of_rows[kAcross][kTile];
  OfColumns<Magnitude> of_columns;

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
    for (int g = 0; g < kGroups; ++g) largest = std::max(largest, of_columns.at[g][slot]);
    return largest;
  }
};

/// Behind the values, for one of these after the other.
union Shared {
  TurnedTile turned;
  TileMaxima maxima;
  OfColumns<float> sums;
};

/// What a block of a kernel of Source has of shared memory.
template <typename Source>
constexpr std::size_t kSharedBytes = Source::kValues* Value<typename Source::Type>::kBytes +
                                     sizeof(Shared);

template <typename Source>
__device__ Shared& shared_of() {
  return *reinterpret_cast<Shared*>(shared_memory<std::byte>() + kSharedBytes<Source> -
                                    sizeof(Shared));
}

template <typename Source>
using ValuesOf = Value<typename Source::Type>[Source::kValues];

/// All values of the block's tile.
template <typename Source>
__device__ void load_values(const Source& source, const Place& place, MatrixSize size,
                            ValuesOf<Source>& values) {
  for (int v = 0; v < Source::kValues; ++v) values[v] = Value<typename Source::Type>(v);
  source.load(place, size, values);
}

template <typename T>
__device__ void store_value(T* to, const Place& place, MatrixSize size, const Value<T>& value) {
  if (to == nullptr) return;
  const Own<T> own = value.own();
  for (int i = 0; i < kRows; ++i) {
    if (!place.exists(i, size)) continue;
    *reinterpret_cast<Run<T, kColumns>*>(to + place.offset(i, size)) = own.x[i];
  }
}

template <typename T, typename Format>
__device__ void store_rows(Format* q, const Place& place, MatrixSize size, const Value<T>& value,
                           const float (&inverse)[kRows]) {
  const Own<T> own = value.own();
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (!place.exists(i, size)) continue;
    Pack<std::uint32_t> codes;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      codes.at[w] =
          to_fp8<Format>(own.at(i, 4 * w) * inverse[i], own.at(i, 4 * w + 1) * inverse[i],
                         own.at(i, 4 * w + 2) * inverse[i], own.at(i, 4 * w + 3) * inverse[i]);
    }
    store_pack(reinterpret_cast<std::uint32_t*>(q + place.offset(i, size)), codes);
  }
}

/// All threads of the block call it. inverse(j): of the scale of own column j.
template <typename T, typename Format, typename Inverse>
__device__ void store_turned(Format* q_t, const Place& place, MatrixSize size,
                             const Value<T>& value, TurnedTile& tile, const Inverse& inverse) {
  sync_block();  // what the memory held before has been read
  const Own<T> own = value.own();
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const float by = inverse(j);
    tile.word(place.across * kColumns + j, place.group) =
        to_fp8<Format>(own.at(0, j) * by, own.at(1, j) * by, own.at(2, j) * by, own.at(3, j) * by);
  }
  sync_block();
  constexpr int kChunks = kTile / 16;  // of a column
  for (int i = 0; i < kTile * kChunks / kThreads; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const int column = index / kChunks, chunk = index % kChunks;
    const std::int64_t to_row = place.tile_column + column, to_column = place.tile_row + chunk * 16;
    if (to_row >= size.columns || to_column >= size.rows) continue;
    Format* to = q_t + to_row * size.rows + to_column;
    store_pack(reinterpret_cast<std::uint32_t*>(to), tile.chunk(column, chunk));
  }
}

/// All threads of the block call it.
template <typename T>
__device__ void store_sums(float* sums, const Place& place, MatrixSize size, const Value<T>& value,
                           OfColumns<float>& of_columns) {
  if (sums == nullptr) return;
  sync_block();
  const Own<T> own = value.own();
  for (int j = 0; j < kColumns; ++j) {
    float sum = 0;
    for (int i = 0; i < kRows; ++i) sum += own.at(i, j);
    of_columns.at[place.group][of_columns.slot(place.across, j)] = sum;
  }
  sync_block();
  const int slot = static_cast<int>(threadIdx.x);
  const std::int64_t column = place.tile_column + of_columns.column(slot);
  if (slot >= kTile || column >= size.columns) return;
  float sum = 0;
  for (int g = 0; g < kGroups; ++g) sum += of_columns.at[g][slot];
  sums[place.tile_row / kTile * size.columns + column] = sum;
}

/// All threads of the block call it: what is made of a value beside its 8 bits.
template <typename T, typename Format>
__device__ void store_more(const Target<T, Format>& to, const Place& place, MatrixSize size,
                           const Value<T>& value, Shared& shared) {
  store_value(to.y, place, size, value);
  store_sums(to.sums, place, size, value, shared.sums);
  if (to.maxima == nullptr) return;
  const Magnitude largest = block_max(value.own().largest(), Magnitude{0});
  if (threadIdx.x == 0) to.maxima[blockIdx.x] = number(largest);
}

template <bool kTransposed, typename T, typename Format>
__device__ void store_with(const Target<T, Format>& to, const Place& place, MatrixSize size,
                           const Value<T>& value, float by, Shared& shared) {
  const float inverse[kRows] = {by, by, by, by};
  store_rows(to.q, place, size, value, inverse);
  if constexpr (kTransposed) {
    store_turned(to.q_t, place, size, value, shared.turned, [by](int) { return by; });
  }
}

/// One scale for a value, of a given amax.
template <typename Source, typename Format, bool kTransposed>
__global__ void __launch_bounds__(kThreads)
    quantize_tensor(const Source source,
                    const Targets<typename Source::Type, Format, Source::kValues> to) {
  Shared& shared = shared_of<Source>();
  const Place place(to.size);
  ValuesOf<Source> values;
  load_values(source, place, to.size, values);
  for (int v = 0; v < Source::kValues; ++v) {
    const auto& target = to.of[v];
    const Fp8Scale scale = fp8_scale(known_amax(*target.amax, to.assumed), Format::largest());
    if (blockIdx.x == 0 && threadIdx.x == 0) *target.scale = scale.scale;
    store_with<kTransposed>(target, place, to.size, values[v], scale.inverse, shared);
    store_more(target, place, to.size, values[v], shared);
  }
}

/// All threads of the block call it.
template <bool kTransposed, typename T>
__device__ void store_maxima(const Place& place, const Value<T>& value, TileMaxima& maxima) {
  sync_block();  // what the memory held before has been read
  const Own<T> own = value.own();
  Pack<Magnitude> of_rows;
  for (int i = 0; i < kRows; ++i) of_rows.at[i] = own.largest_of_row(i);
  store_pack(&maxima.of_rows[place.across][place.group * kRows], of_rows);
  if constexpr (kTransposed) {
    for (int j = 0; j < kColumns; ++j) {
      const int slot = maxima.of_columns.slot(place.across, j);
      maxima.of_columns.at[place.group][slot] = own.largest_of_column(j);
    }
  }
  sync_block();
}

/// The inverses of the scales of the rows of a thread.
template <typename T, typename Format>
__device__ void scale_rows(const Target<T, Format>& to, const Place& place, MatrixSize size,
                           const TileMaxima& maxima, float (&inverse)[kRows]) {
  const Pack<Magnitude> largest = maxima.rows(place.group);
  for (int i = 0; i < kRows; ++i) {
    const Fp8Scale scale = fp8_scale(number(largest.at[i]), Format::largest());
    inverse[i] = scale.inverse;
    if (place.across == 0 && place.row(i) < size.rows) {
      to.scale[place.tile_column / kTile * size.rows + place.row(i)] = scale.scale;
    }
  }
}

/// All threads of the block call it: the inverses of the scales of the columns, by slot.
template <typename T, typename Format>
__device__ void scale_columns(const Target<T, Format>& to, const Place& place, MatrixSize size,
                              const TileMaxima& maxima, float (&inverse)[kTile]) {
  const int slot = static_cast<int>(threadIdx.x);
  if (slot < kTile) {
    const Fp8Scale scale = fp8_scale(number(maxima.in_slot(slot)), Format::largest());
    inverse[slot] = scale.inverse;
    const std::int64_t column = place.tile_column + maxima.of_columns.column(slot);
    to.scale_t[place.tile_row / kTile * size.columns + column] = scale.scale;
  }
  sync_block();
}

/// A scale a row of the tile, and one a column for the transpose.
template <typename Source, typename Format, bool kTransposed>
__global__ void __launch_bounds__(kThreads)
    quantize_rows(const Source source,
                  const Targets<typename Source::Type, Format, Source::kValues> to) {
  __shared__ float of_slots[kTile];
  Shared& shared = shared_of<Source>();
  const Place place(to.size);
  ValuesOf<Source> values;
  load_values(source, place, to.size, values);
  for (int v = 0; v < Source::kValues; ++v) {
    const auto& target = to.of[v];
    TileMaxima& maxima = shared.maxima;
    store_maxima<kTransposed>(place, values[v], maxima);
    float inverse[kRows];
    scale_rows(target, place, to.size, maxima, inverse);
    store_rows(target.q, place, to.size, values[v], inverse);
    if constexpr (kTransposed) {
      scale_columns(target, place, to.size, maxima, of_slots);
      store_turned(target.q_t, place, to.size, values[v], shared.turned,
                   [&](int j) { return of_slots[OfColumns<Magnitude>::slot(place.across, j)]; });
    }
    store_more(target, place, to.size, values[v], shared);
  }
}

/// How a use of the op lies in tiles; the scratch memory has the sums of each value's tiles.
struct Tiling {
  QuantizeFp8Use use;
  MatrixSize size;

  std::int64_t tile_rows() const { return divide_up(size.rows, std::int64_t{kTile}); }
  std::int64_t sums_each() const { return tile_rows() * size.columns; }
  std::size_t sums_bytes() const {
    return use.sum ? float_bytes(static_cast<std::int64_t>(use.values()) * sums_each()) : 0;
  }
  float* sums(void* scratch, std::size_t value) const {
    if (!use.sum) return nullptr;
    return static_cast<float*>(scratch) + static_cast<std::int64_t>(value) * sums_each();
  }
};

template <typename T, typename Format>
Target<T, Format> target(const KernelBuffers& buffers, const Tiling& tiling, std::size_t value) {
  const QuantizeFp8Use& use = tiling.use;
  const bool given = use.block == Fp8Block::tensor;
  const auto* amax = static_cast<const float*>(buffers.operands.back());
  return {given ? amax + use.indices[value] : nullptr,
          use.keep ? buffers.result<T>(use.y(value)) : nullptr,
          buffers.result<Format>(use.q(value)),
          buffers.result<float>(use.scale(value)),
          use.transposed ? buffers.result<Format>(use.q_t(value)) : nullptr,
          use.has_scale_t() ? buffers.result<float>(use.scale_t(value)) : nullptr,
          tiling.sums(buffers.scratch, value),
          use.measure ? buffers.result<float>(use.amax(value)) : nullptr};
}

/// After the tiles: what the sums of each value's come to.
inline void launch_totals(const KernelBuffers& buffers, const Tiling& tiling) {
  if (!tiling.use.sum) return;
  for (std::size_t v = 0; v < tiling.use.values(); ++v) {
    const PartialSums<float> sums{tiling.sums(buffers.scratch, v),
                                  1,
                                  tiling.tile_rows(),
                                  tiling.size.columns,
                                  nullptr,
                                  buffers.result<float>(tiling.use.sum_of(v))};
    launch_add_partials(sums, buffers.stream);
  }
}

/// `kernel` is one of the above, source(buffers) what it loads from.
template <typename Format, typename Source, typename MakeSource>
Prepared prepare(void (*kernel)(Source, Targets<typename Source::Type, Format, Source::kValues>),
                 const Tiling& tiling, MakeSource source) {
  const auto run = [=](const KernelBuffers& buffers) {
    Targets<typename Source::Type, Format, Source::kValues> to{tiling.size, tiling.use.assumed, {}};
    for (std::size_t v = 0; v < Source::kValues; ++v) {
      to.of[v] = target<typename Source::Type, Format>(buffers, tiling, v);
    }
    launch(kernel, Grid{fp8_tiles(tiling.size), 1, 1, kThreads, kSharedBytes<Source>},
           buffers.stream, source(buffers), to);
    launch_totals(buffers, tiling);
  };
  return make_kernel(run, tiling.sums_bytes());
}

}  // namespace bessemer::kernels::cuda::quantize

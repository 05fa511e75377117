// Each byte is read once and written once. Where rows are dense on both sides, a thread moves four
// units of up to 16 bytes, all loaded before the first is stored, neighbours by neighbours. Where a
// permutation moves the innermost dimension, tiles go through shared memory, so that both sides see
// whole lines of 128 bytes.
#include "kernels/cuda/strided_copy.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/rounding.h"
#include "kernels/cuda/divisor.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

struct Offsets {
  std::int64_t from = 0, to = 0;
};

/// The dimensions of a piece, innermost first, with strides in what is moved at once.
struct Layout {
  std::uint32_t count = 1;
  int rank = 0;
  Divisor size[kMostDimensions];
  std::int64_t from[kMostDimensions] = {}, to[kMostDimensions] = {};

  void add(std::int64_t dimension, std::int64_t from_stride, std::int64_t to_stride) {
    require(rank < kMostDimensions, "a copy of more than {} dimensions", kMostDimensions);
    size[rank] = Divisor(dimension);
    from[rank] = from_stride;
    to[rank] = to_stride;
    ++rank;
    count *= static_cast<std::uint32_t>(dimension);
  }
};

__device__ Offsets offsets_of(const Layout& layout, std::uint32_t index) {
  Offsets offsets;
  for (int d = 0; d < layout.rank; ++d) {
    const std::uint32_t rest = layout.size[d].quotient(index);
    const std::int64_t i = index - rest * layout.size[d].divisor();
    offsets.from += i * layout.from[d];
    offsets.to += i * layout.to[d];
    index = rest;
  }
  return offsets;
}

// Where a unit comes from: memory, one element of it repeated, or no memory at all.
template <typename Unit>
struct Load {
  const Unit* from;
  __device__ Unit operator()(std::int64_t at) const { return from[at]; }
};
template <typename T>
struct Repeat {
  const T* from;
  __device__ Pack<T> operator()(std::int64_t at) const {
    const T element = from[at];
    Pack<T> unit;
    for (T& each : unit.at) each = element;
    return unit;
  }
};
template <typename Unit>
struct Constant {
  Unit unit;
  __device__ Unit operator()(std::int64_t) const { return unit; }
};

constexpr int kThreads = 256;
constexpr int kInFlight = 4;  // units of a thread

template <typename Unit, typename Source>
__global__ void move_units(const Layout layout, const Source source, Unit* to) {
  const std::uint32_t first = blockIdx.x * (kInFlight * kThreads) + threadIdx.x;
  Unit units[kInFlight];
  std::int64_t places[kInFlight];
  for (int k = 0; k < kInFlight; ++k) {
    const std::uint32_t index = first + k * kThreads;
    if (index >= layout.count) continue;
    const Offsets offsets = offsets_of(layout, index);
    places[k] = offsets.to;
    units[k] = source(offsets.from);
  }
  for (int k = 0; k < kInFlight; ++k) {
    if (first + k * kThreads < layout.count) to[places[k]] = units[k];
  }
}

/// Columns are dense in the source, rows in the result; strides of the other two.
struct Tiles {
  std::int64_t rows, columns;
  std::int64_t from_row, to_column;
  Divisor row_tiles, column_tiles;
  Layout outer;
};

struct Tile {
  std::int64_t row, column;  // the first
  Offsets offsets;
};

__device__ Tile tile_of(const Tiles& tiles, int side) {
  const std::uint32_t row_index = tiles.column_tiles.quotient(blockIdx.x);
  const std::uint32_t outer = tiles.row_tiles.quotient(row_index);
  Tile tile;
  tile.column = std::int64_t{side} * (blockIdx.x - row_index * tiles.column_tiles.divisor());
  tile.row = std::int64_t{side} * (row_index - outer * tiles.row_tiles.divisor());
  tile.offsets = offsets_of(tiles.outer, outer);
  tile.offsets.from += tile.row * tiles.from_row + tile.column;
  tile.offsets.to += tile.column * tiles.to_column + tile.row;
  return tile;
}

constexpr int kSide = 32;  // of a tile of single elements

/// Where rows or columns are not made of whole packs.
template <typename T>
__global__ void transpose_elements(const Tiles tiles, const T* from, T* to) {
  constexpr int kStep = kThreads / kSide, kEach = kSide / kStep;
  __shared__ T elements[kSide][kSide + 1];  // a column is in as many banks as a row
  const Tile tile = tile_of(tiles, kSide);
  const int x = static_cast<int>(threadIdx.x) % kSide, y = static_cast<int>(threadIdx.x) / kSide;
  const std::int64_t rows = tiles.rows - tile.row, columns = tiles.columns - tile.column;
  for (int k = 0; k < kEach; ++k) {
    const int row = y + k * kStep;
    if (row < rows && x < columns) {
      elements[row][x] = from[tile.offsets.from + row * tiles.from_row + x];
    }
  }
  sync_block();
  for (int k = 0; k < kEach; ++k) {
    const int column = y + k * kStep;
    if (column < columns && x < rows) {
      to[tile.offsets.to + column * tiles.to_column + x] = elements[x][column];
    }
  }
}

/// A tile of packs: as many rows and columns as a line of 128 bytes has elements.
template <typename T>
struct PackTile {
  static constexpr int kPacks = 8;  // of a row or column
  static constexpr int kElements = Pack<T>::kSize;
  static constexpr int kSide = kPacks * kElements;
  static constexpr int kEach = 2;  // packs of a thread, either way
  static constexpr int kThreads = kSide * kPacks / kEach;
};

/// Pack p of row r lies at p ^ (r / kElements) % kPacks of its row: then neither the rows that a
/// warp stores nor the columns that it loads meet in a bank of shared memory.
template <typename T>
__global__ void transpose_packs(const Tiles tiles, const T* from, T* to) {
  using Of = PackTile<T>;
  __shared__ Pack<T> packs[Of::kSide][Of::kPacks];
  const Tile tile = tile_of(tiles, Of::kSide);
  const std::int64_t rows = tiles.rows - tile.row, columns = tiles.columns - tile.column;
  const int x = static_cast<int>(threadIdx.x) % Of::kPacks;
  Pack<T> loaded[Of::kEach] = {};
  for (int k = 0; k < Of::kEach; ++k) {
    const int row = (static_cast<int>(threadIdx.x) + k * Of::kThreads) / Of::kPacks;
    if (row < rows && x * Of::kElements < columns) {
      loaded[k] = load_pack(from + tile.offsets.from + row * tiles.from_row + x * Of::kElements);
    }
  }
  for (int k = 0; k < Of::kEach; ++k) {
    const int row = (static_cast<int>(threadIdx.x) + k * Of::kThreads) / Of::kPacks;
    packs[row][x ^ (row / Of::kElements)] = loaded[k];
  }
  sync_block();
  for (int k = 0; k < Of::kEach; ++k) {
    const int column = (static_cast<int>(threadIdx.x) + k * Of::kThreads) / Of::kPacks;
    if (column >= columns || x * Of::kElements >= rows) continue;
    Pack<T> gathered;
    for (int i = 0; i < Of::kElements; ++i) {
      gathered.at[i] =
          packs[x * Of::kElements + i][(column / Of::kElements) ^ x].at[column % Of::kElements];
    }
    store_pack(to + tile.offsets.to + column * tiles.to_column + x * Of::kElements, gathered);
  }
}

/// Calls `use` with an unsigned integer of that many bytes.
template <typename Use>
auto with_element(std::int64_t bytes, const Use& use) {
  switch (bytes) {
    case 1: return use(std::uint8_t{});
    case 2: return use(std::uint16_t{});
    case 4: return use(std::uint32_t{});
    case 8: return use(std::uint64_t{});
    default: fail("an element of {} bytes", bytes);
  }
}
/// The same with something of 16 bytes too.
template <typename Use>
auto with_unit(std::int64_t bytes, const Use& use) {
  return bytes == 16 ? use(Pack<std::uint64_t>{}) : with_element(bytes, use);
}

template <typename T>
const T* at(const void* base, std::int64_t bytes) {
  return reinterpret_cast<const T*>(static_cast<const std::byte*>(base) + bytes);
}
template <typename T>
T* at(void* base, std::int64_t bytes) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(base) + bytes);
}

/// Strides of the source in `from_bytes`, of the result in `to_bytes`; rows in those too.
Layout layout_of(const StridedProblem& problem, std::int64_t from_bytes, std::int64_t to_bytes) {
  const StridedDimension& row = problem.inner();
  const bool dense = row.to == problem.element;
  Layout layout;
  layout.add(dense ? row.size * problem.element / to_bytes : row.size,
             row.from == problem.element && dense ? to_bytes / from_bytes : row.from / from_bytes,
             dense ? 1 : row.to / to_bytes);
  for (std::size_t d = problem.dimensions.size() - 1; d-- > 0;) {
    const StridedDimension& dimension = problem.dimensions[d];
    layout.add(dimension.size, dimension.from / from_bytes, dimension.to / to_bytes);
  }
  return layout;
}

Grid grid_of(const Layout& layout) {
  return {divide_up(std::int64_t{layout.count}, std::int64_t{kInFlight * kThreads}), 1, 1,
          kThreads};
}

Movement copy_units(const StridedProblem& problem) {
  const std::int64_t bytes = widest_unit(problem);
  return with_unit(bytes, [&](auto unit) -> Movement {
    using Unit = decltype(unit);
    const Layout layout = layout_of(problem, bytes, bytes);
    return [=, from_begin = problem.from_begin, to_begin = problem.to_begin](
               const void* from, void* to, Stream stream) {
      launch(move_units<Unit, Load<Unit>>, grid_of(layout), stream, layout,
             Load<Unit>{at<Unit>(from, from_begin)}, at<Unit>(to, to_begin));
    };
  });
}

/// Rows of one element each, repeated.
bool repeats(const StridedProblem& problem) {
  StridedProblem result = problem;
  for (StridedDimension& d : result.dimensions) d.from = d.to;
  result.from_begin = result.to_begin;
  return problem.inner().from == 0 && problem.inner().to == problem.element &&
         widest_unit(result) == 16;
}

Movement repeat_elements(const StridedProblem& problem) {
  return with_element(problem.element, [&](auto element) -> Movement {
    using T = decltype(element);
    const Layout layout = layout_of(problem, sizeof(T), sizeof(Pack<T>));
    return [=, from_begin = problem.from_begin, to_begin = problem.to_begin](
               const void* from, void* to, Stream stream) {
      launch(move_units<Pack<T>, Repeat<T>>, grid_of(layout), stream, layout,
             Repeat<T>{at<T>(from, from_begin)}, at<Pack<T>>(to, to_begin));
    };
  });
}

/// The dimension along which the source is dense where the innermost is not, if tiles of both are
/// worth it: the index, or -1.
std::ptrdiff_t column_of(const StridedProblem& problem) {
  constexpr std::int64_t kFewest = 8;
  const auto& dimensions = problem.dimensions;
  const StridedDimension& row = problem.inner();
  const auto dense = std::find_if(dimensions.begin(), dimensions.end(),
                                  [&](const auto& d) { return d.from == problem.element; });
  const bool worth = dense < dimensions.end() - 1 && dense->size >= kFewest &&
                     row.size >= kFewest && row.to == problem.element;
  return worth ? dense - dimensions.begin() : -1;
}

Tiles tiles_of(const StridedProblem& problem, std::size_t column, int side) {
  const std::int64_t bytes = problem.element;
  const StridedDimension& rows = problem.inner();
  const StridedDimension& columns = problem.dimensions[column];
  Tiles tiles{rows.size,
              columns.size,
              rows.from / bytes,
              columns.to / bytes,
              Divisor(divide_up(rows.size, std::int64_t{side})),
              Divisor(divide_up(columns.size, std::int64_t{side})),
              {}};
  for (std::size_t d = problem.dimensions.size() - 1; d-- > 0;) {
    if (d == column) continue;
    const StridedDimension& outer = problem.dimensions[d];
    tiles.outer.add(outer.size, outer.from / bytes, outer.to / bytes);
  }
  return tiles;
}

Movement transpose_tiles(const StridedProblem& problem, std::size_t column) {
  return with_element(problem.element, [&](auto element) -> Movement {
    using T = decltype(element);
    constexpr int kElements = Pack<T>::kSize;
    const bool packed = problem.inner().size % kElements == 0 &&
                        problem.dimensions[column].size % kElements == 0 && is_aligned(problem, 16);
    const Tiles tiles = tiles_of(problem, column, packed ? PackTile<T>::kSide : kSide);
    const std::int64_t count =
        std::int64_t{tiles.outer.count} * tiles.row_tiles.divisor() * tiles.column_tiles.divisor();
    const Grid grid{count, 1, 1, packed ? PackTile<T>::kThreads : kThreads};
    return [=, kernel = packed ? &transpose_packs<T> : &transpose_elements<T>,
            from_begin = problem.from_begin,
            to_begin = problem.to_begin](const void* from, void* to, Stream stream) {
      launch(kernel, grid, stream, tiles, at<T>(from, from_begin), at<T>(to, to_begin));
    };
  });
}

Movement copy_part(const StridedProblem& part) {
  if (repeats(part)) return repeat_elements(part);
  const std::ptrdiff_t column = column_of(part);
  if (column >= 0) return transpose_tiles(part, static_cast<std::size_t>(column));
  return copy_units(part);
}

Movement fill_part(const StridedProblem& part, const ElementBytes& element) {
  const std::int64_t bytes = widest_unit(part);
  return with_unit(bytes, [&](auto unit) -> Movement {
    auto* out = reinterpret_cast<std::byte*>(&unit);
    for (std::int64_t i = 0; i < bytes; i += part.element) {
      std::memcpy(out + i, element.data(), static_cast<std::size_t>(part.element));
    }
    using Unit = decltype(unit);
    return [layout = layout_of(part, bytes, bytes), source = Constant<Unit>{unit},
            begin = part.to_begin](const void*, void* to, Stream stream) {
      launch(move_units<Unit, Constant<Unit>>, grid_of(layout), stream, layout, source,
             at<Unit>(to, begin));
    };
  });
}

Movement one_after_the_other(std::vector<Movement> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  return [parts = std::move(parts)](const void* from, void* to, Stream stream) {
    for (const Movement& part : parts) part(from, to, stream);
  };
}

}  // namespace

Movement strided_copy(const StridedProblem& problem) {
  std::vector<Movement> parts;
  for (const StridedProblem& part : parts_of(problem)) parts.push_back(copy_part(part));
  return one_after_the_other(std::move(parts));
}

Movement strided_fill(const StridedProblem& problem, const ElementBytes& element) {
  StridedProblem of_result = problem;
  for (StridedDimension& d : of_result.dimensions) d.from = d.to;
  of_result.from_begin = of_result.to_begin;
  std::vector<Movement> parts;
  for (const StridedProblem& part : parts_of(of_result)) parts.push_back(fill_part(part, element));
  return one_after_the_other(std::move(parts));
}

}  // namespace bessemer::kernels::cuda

// Rows of a table by id, and the sum of their gradients.
//
// embedding reads a row and writes it, for each position. embedding_grad writes every row of the
// table (where it adds in place only those that have positions) and reads each row of dy once, by
// order of row and, in a row, of position (positions_by_row.cuh), which is the order of the sum: it
// has the bits of the CPU's. A warp sums a slice of a row; what many positions have is summed by
// blocks, for a chain of so many loads would outlast all the rest (ordered_sum.cuh).
#include <algorithm>

#include "base/rounding.h"
#include "kernels/prepare.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/divisor.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/ordered_sum.cuh"
#include "kernels/cuda/positions_by_row.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kAhead = 4;  // loads of a thread that do not wait for each other

/// table: [rows, width]; into, y: [positions, width], into null where absent, or y.
template <typename T, typename U>
struct Lookup {
  const T* table;
  RowsById by_id;
  const U* into;
  U* y;
  int positions, width;
};

template <typename T, typename U, int kSize>
__device__ void convert_row(const T* from, U* to, int width) {
  constexpr int kStep = kWarp * kSize;
  for (int base = lane() * kSize; base < width; base += kAhead * kStep) {
    Run<T, kSize> runs[kAhead] = {};
    for (int k = 0; k < kAhead; ++k) {
      if (base + k * kStep < width) runs[k] = load_run<kSize>(from + base + k * kStep);
    }
    for (int k = 0; k < kAhead; ++k) {
      if (base + k * kStep < width) store_floats(to + base + k * kStep, to_floats(runs[k]));
    }
  }
}

/// A warp has a position.
template <typename T, typename U, int kSize>
__global__ void __launch_bounds__(kThreads, 1) look_up(Lookup<T, U> p) {
  const std::int64_t position = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (position >= p.positions) return;
  const std::int64_t row = p.by_id.row(static_cast<int>(position));
  const std::int64_t at = position * p.width;
  if (row < p.by_id.rows) {
    convert_row<T, U, kSize>(p.table + row * p.width, p.y + at, p.width);
  } else if (p.into == nullptr) {
    for (int c = lane() * kSize; c < p.width; c += kWarp * kSize) {
      store_floats(p.y + at + c, Run<float, kSize>{});
    }
  } else if (p.into != p.y) {
    convert_row<U, U, kSize>(p.into + at, p.y + at, p.width);
  }
}

/// Positions of a row that are enough for blocks.
constexpr int kMany = 128;

/// dy: [positions, width]; addend, sums: [rows, width], addend null where absent, or sums.
template <typename T>
struct SumByRow {
  const T* dy;
  RowsById by_id;
  PositionsByRow::Result positions;
  const float* addend;
  float* sums;
  int width;
  int blocks_of_many;  // the first of the grid
  int slices_of_many;  // of a row: blocks that sum it
  Divisor slices;      // of the other rows
};

/// The blocks of rows with many positions. Of kMany positions in sorted order the first is looked
/// at: a row that has so many has it, once or more; at the first time it is summed.
template <typename T, int kSize>
__device__ void sum_many(const SumByRow<T>& p) {
  using Sum = OrderedSum<T, kSize>;
  const int block = static_cast<int>(blockIdx.x);
  const int seen = block / p.slices_of_many * kMany;
  const int first_column = block % p.slices_of_many * Sum::kColumns;
  const int row = p.by_id.row(p.positions.sorted[seen]);
  if (row == p.by_id.rows) return;
  const RowRange range = p.positions.ranges[row];
  if (range.end - range.begin < kMany || seen - range.begin >= kMany) return;
  const int column = first_column + lane();
  const bool mine = threadIdx.x < kWarp && column < p.width;
  const std::int64_t at = std::int64_t{row} * p.width + column;
  const float first = mine && p.addend != nullptr ? p.addend[at] : 0.0f;
  const float sum =
      Sum::run(first, range.end - range.begin, first_column, p.width, [&](std::int64_t i) {
        return p.dy + std::int64_t{p.positions.sorted[range.begin + i]} * p.width;
      });
  if (mine) p.sums[at] = sum;
}

/// Runs of a row that a lane sums, and those of its warp: a slice of the row.
constexpr int kRuns = 2;
constexpr int kSliceRuns = kWarp * kRuns;

/// `sums` and, on top of them, the rows of dy at one row's positions, in order. All lanes of a warp
/// call it, each for its runs, the first at `column`; beyond `width` there are none.
template <typename T, int kSize>
__device__ void add_positions(const SumByRow<T>& p, const RowRange& range, int column,
                              Run<float, kSize> (&sums)[kRuns]) {
  for (int begin = range.begin; begin < range.end; begin += kWarp) {
    const int count = std::min(range.end - begin, int{kWarp});
    const int own = lane() < count ? p.positions.sorted[begin + lane()] : 0;
    for (int i = 0; i < count; i += kAhead) {
      Run<T, kSize> next[kAhead][kRuns] = {};
      for (int k = 0; k < kAhead; ++k) {
        const T* dy = p.dy + std::int64_t{shuffle(own, i + k)} * p.width;
        for (int r = 0; r < kRuns; ++r) {
          const int c = column + r * kWarp * kSize;
          if (i + k < count && c < p.width) next[k][r] = load_run<kSize>(dy + c);
        }
      }
      for (int k = 0; k < kAhead; ++k) {
        if (i + k >= count) break;
        for (int r = 0; r < kRuns; ++r) {
          for (int e = 0; e < kSize; ++e) sums[r].at[e] += to_float(next[k][r].at[e]);
        }
      }
    }
  }
}

/// The other blocks: a warp has a slice of a row with few positions, or none.
template <typename T, int kSize>
__device__ void sum_few(const SumByRow<T>& p) {
  const unsigned block = blockIdx.x - static_cast<unsigned>(p.blocks_of_many);
  const unsigned task = block * kWarps + threadIdx.x / kWarp;
  const unsigned quotient = p.slices.quotient(task);
  const int row = static_cast<int>(quotient);
  if (row >= p.by_id.rows) return;
  const int slice = static_cast<int>(task - quotient * p.slices.divisor());
  const int column = (slice * kSliceRuns + lane()) * kSize;
  const RowRange range = p.positions.ranges[row];
  const int count = range.end - range.begin;
  if (count >= kMany || (count == 0 && p.addend == p.sums)) return;
  const std::int64_t at = std::int64_t{row} * p.width + column;
  Run<float, kSize> sums[kRuns] = {};
  for (int r = 0; r < kRuns; ++r) {
    const int c = r * kWarp * kSize;
    if (p.addend != nullptr && column + c < p.width) sums[r] = load_run<kSize>(p.addend + at + c);
  }
  add_positions(p, range, column, sums);
  for (int r = 0; r < kRuns; ++r) {
    const int c = r * kWarp * kSize;
    if (column + c < p.width) store_floats(p.sums + at + c, sums[r]);
  }
}

template <typename T, int kSize>
__global__ void __launch_bounds__(kThreads, 1) sum_by_row(SumByRow<T> p) {
  static_assert(OrderedSum<T, kSize>::kThreads == kThreads);
  if (blockIdx.x < static_cast<unsigned>(p.blocks_of_many)) {
    sum_many<T, kSize>(p);
  } else {
    sum_few<T, kSize>(p);
  }
}

template <typename T, typename U>
Prepared prepare_lookup(const KernelRequest& request) {
  constexpr int kPack = std::max(Pack<T>::kSize, Pack<U>::kSize);
  Lookup<T, U> prepared{};
  prepared.positions = static_cast<int>(request.operand(1).elements());
  prepared.width = static_cast<int>(request.operand(0).dim(1));
  prepared.by_id = {nullptr, request.attributes.integer("first", 0),
                    static_cast<int>(request.operand(0).dim(0))};
  const auto kernel = prepared.width % kPack == 0 ? look_up<T, U, kPack> : look_up<T, U, 1>;
  return make_kernel([=](const KernelBuffers& buffers) {
    if (prepared.positions == 0) return;
    Lookup<T, U> args = prepared;
    args.table = buffers.operand<T>(0);
    args.by_id.ids = buffers.operand<std::int32_t>(1);
    args.into = buffers.operand<U>(2);
    args.y = buffers.result<U>(0);
    launch(kernel, Grid{divide_up(args.positions, kWarps), 1, 1, kThreads}, buffers.stream, args);
  });
}

template <typename T, int kSize>
Prepared prepare_sum(const TensorType& dy, const TensorType& table, std::int64_t first) {
  using Sum = OrderedSum<T, kSize>;
  const int rows = static_cast<int>(table.dim(0)), width = static_cast<int>(table.dim(1));
  const int positions = static_cast<int>(dy.elements() / width);
  const PositionsByRow sort(positions, rows);
  const int slices_of_many = divide_up(width, Sum::kColumns);
  // Rows that have kMany positions: none where there are fewer.
  const int blocks_of_many = positions < kMany ? 0 : divide_up(positions, kMany) * slices_of_many;
  const int slices = divide_up(width, kSliceRuns * kSize);
  const std::int64_t tasks = round_up(std::int64_t{rows} * slices, kWarps);
  if (tasks > Divisor::kLimit) return Declined{"a table of more than 2^31 slices"};
  const Grid grid{blocks_of_many + tasks / kWarps, 1, 1, kThreads, Sum::kSharedBytes};
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        SumByRow<T> args{};
        args.dy = buffers.operand<T>(0);
        args.by_id = {buffers.operand<std::int32_t>(1), first, rows};
        args.positions = sort.launch_on(args.by_id, buffers.scratch, buffers.stream);
        args.addend = buffers.operand<float>(2);
        args.sums = buffers.result<float>(0);
        args.width = width;
        args.blocks_of_many = blocks_of_many;
        args.slices_of_many = slices_of_many;
        args.slices = Divisor(slices);
        launch(sum_by_row<T, kSize>, grid, buffers.stream, args);
      },
      sort.scratch_bytes());
}

/// Nothing to sum: the addend, or zeros.
Prepared prepare_without_positions(const TensorType& table) {
  const std::int64_t elements = table.elements();
  return make_kernel([=](const KernelBuffers& buffers) {
    PartialSums<float> none{
        nullptr, 1, 0, elements, buffers.operand<float>(2), buffers.result<float>(0)};
    if (elements > 0) launch_add_partials(none, buffers.stream);
  });
}

std::optional<Declined> decline(const KernelRequest& request, std::int64_t positions,
                                const TensorType& table) {
  if (auto declined = decline_other_floats(request)) return declined;
  const std::int64_t most = std::int64_t{1} << 30;
  if (positions > most || table.dim(0) > most || table.dim(1) > most) {
    return Declined{"more than 2^30 positions, rows or columns"};
  }
  return std::nullopt;
}

}  // namespace

Prepared embedding(const KernelRequest& request) {
  const TensorType& table = request.operand(0);
  if (auto declined = decline(request, request.operand(1).elements(), table)) return *declined;
  return of_dtype(table.dtype, [&]<typename T>(T) {
    return of_dtype(request.results[0].dtype,
                    [&]<typename U>(U) { return prepare_lookup<T, U>(request); });
  });
}

Prepared embedding_grad(const KernelRequest& request) {
  const TensorType &dy = request.operand(0), &table = request.results[0];
  if (auto declined = decline(request, request.operand(1).elements(), table)) return *declined;
  if (dy.elements() == 0 || table.elements() == 0) return prepare_without_positions(table);
  const std::int64_t first = request.attributes.integer("first", 0);
  // Runs are of 16 bytes of the table, which is most of what is moved.
  return of_dtype(dy.dtype, [&]<typename T>(T) {
    constexpr int kRun = Pack<float>::kSize;
    return table.dim(1) % kRun == 0 ? prepare_sum<T, kRun>(dy, table, first)
                                    : prepare_sum<T, 1>(dy, table, first);
  });
}

}  // namespace bessemer::kernels::cuda

// What the sort moves, some 40 bytes a position, is little beside the rows that are then summed; it
// takes the time of its launches: two for each digit, and one. A table of up to 2^18 - 1 rows has
// two digits.
#include "kernels/cuda/positions_by_row.cuh"

#include <algorithm>
#include <bit>

#include "base/arena.h"
#include "base/rounding.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kWarps = 16;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRounds = 4;  // positions of a thread
constexpr int kTile = kThreads * kRounds;
constexpr int kMostDigits = kThreads;  // values of a digit: one for each thread

/// One pass. `order` holds the positions as sorted by lesser digits; null before the first pass,
/// when they are in order of position.
struct Pass {
  RowsById by_id;
  const int* order;
  int* sorted;
  int positions;
  int shift, digits;  // digit = row >> shift & (digits - 1)
  int* counts;        // [tiles, digits]: positions of a tile that have the digit
};

/// A thread's positions of the block's tile. Warp after warp, round after round, lane after lane,
/// they are in order.
struct Tile {
  int position[kRounds];
  int digit[kRounds];  // `digits` beyond the last position
  int rank[kRounds];   // among those of the warp with the same digit
};

/// counts is in shared memory, [kWarps, digits + 1]: how many a warp has of each digit.
__device__ inline Tile rank_tile(const Pass& p, int* counts) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  for (int i = thread; i < kWarps * (p.digits + 1); i += kThreads) counts[i] = 0;
  Tile tile;
  for (int k = 0; k < kRounds; ++k) {
    const std::int64_t index =
        std::int64_t{blockIdx.x} * kTile + (warp * kRounds + k) * kWarp + lane();
    const bool is_one = index < p.positions;
    const int i = is_one ? static_cast<int>(index) : 0;
    tile.position[k] = p.order == nullptr ? i : p.order[i];
    tile.digit[k] = is_one ? p.by_id.row(tile.position[k]) >> p.shift & (p.digits - 1) : p.digits;
  }
  sync_block();
  for (int k = 0; k < kRounds; ++k) {
    const unsigned peers = match(tile.digit[k]);
    int& count = counts[warp * (p.digits + 1) + tile.digit[k]];
    const int before = count, of_round = std::popcount(peers & ((1u << lane()) - 1));
    sync_warp();  // all have read
    if (of_round == 0) count = before + std::popcount(peers);
    sync_warp();
    tile.rank[k] = before + of_round;
  }
  sync_block();
  return tile;
}

/// Also makes `ranges` empty, in the first pass; null in the others.
__global__ void __launch_bounds__(kThreads, 1) count_digits(Pass p, RowRange* ranges) {
  int* counts = shared_memory<int>();
  rank_tile(p, counts);
  const int digit = static_cast<int>(threadIdx.x);
  if (digit < p.digits) {
    int sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += counts[warp * (p.digits + 1) + digit];
    p.counts[std::int64_t{blockIdx.x} * p.digits + digit] = sum;
  }
  if (ranges == nullptr) return;
  for (std::int64_t row = std::int64_t{blockIdx.x} * kThreads + digit; row < p.by_id.rows;
       row += std::int64_t{gridDim.x} * kThreads) {
    ranges[row] = {0, 0};
  }
}

/// The sum of `value` over the threads before this one.
__device__ inline int sum_before(int value) {
  __shared__ int of_warp[kWarps];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  int sum = value;  // of this lane and as many before it as `distance` says
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int other = shuffle(sum, std::max(lane() - distance, 0));
    if (lane() >= distance) sum += other;
  }
  if (lane() == kWarp - 1) of_warp[warp] = sum;
  sync_block();
  sum -= value;
  for (int w = 0; w < warp; ++w) sum += of_warp[w];
  return sum;
}

__global__ void __launch_bounds__(kThreads, 1) move_positions(Pass p) {
  int* counts = shared_memory<int>();
  const Tile tile = rank_tile(p, counts);
  // Where each digit of each warp goes: after the lesser digits, and after its own of tiles and
  // warps before.
  const int digit = static_cast<int>(threadIdx.x);
  int before = 0, all = 0;
  if (digit < p.digits) {
    for (unsigned t = 0; t < gridDim.x; ++t) {
      const int count = p.counts[std::int64_t{t} * p.digits + digit];
      if (t < blockIdx.x) before += count;
      all += count;
    }
  }
  int to = sum_before(all) + before;
  if (digit < p.digits) {
    for (int warp = 0; warp < kWarps; ++warp) {
      int& count = counts[warp * (p.digits + 1) + digit];
      const int of_warp = count;
      count = to;
      to += of_warp;
    }
  }
  sync_block();
  const int warp = digit / kWarp;
  for (int k = 0; k < kRounds; ++k) {
    if (tile.digit[k] == p.digits) continue;
    p.sorted[counts[warp * (p.digits + 1) + tile.digit[k]] + tile.rank[k]] = tile.position[k];
  }
}

/// The range of each row that has positions.
__global__ void __launch_bounds__(kThreads, 1)
    mark_ranges(RowsById by_id, const int* sorted, int positions, RowRange* ranges) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= positions) return;
  const int i = static_cast<int>(index);
  const int row = by_id.row(sorted[i]);
  if (row == by_id.rows) return;
  if (i == 0 || by_id.row(sorted[i - 1]) != row) ranges[row].begin = i;
  if (i + 1 == positions || by_id.row(sorted[i + 1]) != row) ranges[row].end = i + 1;
}

}  // namespace

PositionsByRow::PositionsByRow(int positions, int rows)
    : positions_(positions), rows_(rows), tiles_(divide_up(positions, kTile)) {
  constexpr int kMostBits = std::bit_width(unsigned{kMostDigits}) - 1;
  const int bits = std::bit_width(static_cast<unsigned>(rows));
  passes_ = divide_up(bits, kMostBits);
  digit_bits_ = divide_up(bits, passes_);
}

std::size_t PositionsByRow::order_bytes() const {
  return align_up(sizeof(int) * static_cast<std::size_t>(positions_));
}
std::size_t PositionsByRow::counts_bytes() const {
  return align_up((sizeof(int) * static_cast<std::size_t>(tiles_)) << digit_bits_);
}
std::size_t PositionsByRow::ranges_bytes() const {
  return align_up(sizeof(RowRange) * static_cast<std::size_t>(rows_));
}

PositionsByRow::Result PositionsByRow::launch_on(const RowsById& by_id, void* scratch,
                                                 Stream stream) const {
  auto* bytes = static_cast<std::byte*>(scratch);
  int* orders[] = {reinterpret_cast<int*>(bytes), reinterpret_cast<int*>(bytes + order_bytes())};
  auto* counts = reinterpret_cast<int*>(bytes + 2 * order_bytes());
  auto* ranges = reinterpret_cast<RowRange*>(bytes + 2 * order_bytes() + counts_bytes());
  const int digits = 1 << digit_bits_;
  const Grid grid{tiles_, 1, 1, kThreads, sizeof(int) * kWarps * (digits + 1)};
  const int* sorted = nullptr;
  for (int pass = 0; pass < passes_; ++pass) {
    int* to = orders[pass % 2];
    const Pass p{by_id, sorted, to, positions_, pass * digit_bits_, digits, counts};
    launch(count_digits, grid, stream, p, pass == 0 ? ranges : nullptr);
    launch(move_positions, grid, stream, p);
    sorted = to;
  }
  launch(mark_ranges, Grid{divide_up(positions_, kThreads), 1, 1, kThreads}, stream, by_id, sorted,
         positions_, ranges);
  return {sorted, ranges};
}

}  // namespace bessemer::kernels::cuda

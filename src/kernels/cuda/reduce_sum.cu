// Sums over dimensions. All read x once, and beside it write and read partial sums: where rows are
// added, one for each kRowBlock elements (1/16 of x's bytes in bf16, which stay in the L2 cache).
// Partial sums are of blocks whose size is fixed, and are added in order, beginning with the
// addend: so a sum of rows that is cut between blocks into parts, each added to the one before,
// keeps its bits.
#include <algorithm>
#include <array>
#include <optional>

#include "base/rounding.h"
#include "kernels/prepare.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/ordered_sum.cuh"
#include "kernels/cuda/team.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = kBlockWarps * kWarp;

/// x as [outer, reduced, inner], summed over the middle.
struct Middle {
  std::int64_t outer = 1, reduced = 1, inner = 1;
};

/// Rows of one partial sum, as on the CPU: passes cut there. A warp has kWarpRows of them.
constexpr std::int64_t kRowBlock = 64;
constexpr int kWarpRows = kRowBlock / kBlockWarps;

/// y[o, block] = addend[o, block] + the sum of a block of rows; y is [outer, blocks, inner], addend
/// null where absent.
template <typename T, typename U, int kSize>
__global__ void __launch_bounds__(kThreads, 1)
    sum_rows(const T* x, Middle shape, const U* addend, U* y) {
  constexpr int kColumns = kWarp * kSize;
  const std::int64_t tiles = (shape.inner + kColumns - 1) / kColumns;
  const std::int64_t blocks =
      std::max<std::int64_t>(1, (shape.reduced + kRowBlock - 1) / kRowBlock);
  const std::int64_t tile = blockIdx.x % tiles, result = blockIdx.x / tiles;
  const std::int64_t outer = result / blocks, block = result % blocks;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;

  const std::int64_t column = tile * kColumns + lane() * kSize;
  Run<T, kSize> rows[kWarpRows] = {};
  for (int k = 0; k < kWarpRows; ++k) {
    const std::int64_t row = block * kRowBlock + k * kBlockWarps + warp;
    if (row < shape.reduced && column < shape.inner) {
      rows[k] = load_run<kSize>(x + (outer * shape.reduced + row) * shape.inner + column);
    }
  }
  Run<float, kSize> sums = {};
  for (const auto& row : rows) {
    for (int e = 0; e < kSize; ++e) sums.at[e] += to_float(row.at[e]);
  }
  float* of_warps = shared_memory<float>();
  store_floats(of_warps + warp * kColumns + lane() * kSize, sums);
  sync_block();
  const int own = static_cast<int>(threadIdx.x);
  const std::int64_t own_column = tile * kColumns + own;
  if (own >= kColumns || own_column >= shape.inner) return;
  float sum = 0;
  for (int w = 0; w < kBlockWarps; ++w) sum += of_warps[w * kColumns + own];
  const std::int64_t at = result * shape.inner + own_column;
  if (addend != nullptr) sum += to_float(addend[at]);
  y[at] = from_float<U>(sum);
}

/// Elements of one partial sum of a run.
constexpr std::int64_t kRunBlock = 32768;

/// y[run, block] = addend[run, block] + the sum of a block of neighbours; x is [runs, length], y
/// [runs, blocks]. A team of warps has a block.
template <typename T, typename U, int kSize>
__global__ void __launch_bounds__(kThreads, 1)
    sum_runs(const T* x, std::int64_t runs, std::int64_t length, int warps, const U* addend, U* y) {
  constexpr int kAhead = 4;
  const Team team(warps);
  const std::int64_t blocks = std::max<std::int64_t>(1, (length + kRunBlock - 1) / kRunBlock);
  const std::int64_t result = std::int64_t{blockIdx.x} * team.count + team.index;
  const std::int64_t begin = result % blocks * kRunBlock;
  const std::int64_t end = result < runs * blocks ? std::min(length, begin + kRunBlock) : 0;
  const T* run = x + result / blocks * length;
  float sum = 0;
  const std::int64_t step = team.threads * kSize;
  for (std::int64_t base = begin + team.thread * kSize; base < end; base += kAhead * step) {
    Run<T, kSize> next[kAhead] = {};
    for (int k = 0; k < kAhead; ++k) {
      if (base + k * step < end) next[k] = load_run<kSize>(run + base + k * step);
    }
    for (const auto& values : next) {
      for (int e = 0; e < kSize; ++e) sum += to_float(values.at[e]);
    }
  }
  sum = team_sum(sum, team);
  if (result >= runs * blocks || team.thread != 0) return;
  if (addend != nullptr) sum += to_float(addend[result]);
  y[result] = from_float<U>(sum);
}

/// Dimensions of x by size and stride, outermost first.
struct Strides {
  static constexpr int kMost = 8;
  int count = 0;
  std::int64_t size[kMost] = {}, stride[kMost] = {};

  void add(std::int64_t of_size, std::int64_t of_stride) {
    size[count] = of_size;
    stride[count++] = of_stride;
  }
  /// Where entry `index`, in row-major order, is.
  __device__ std::int64_t offset(std::int64_t index) const {
    std::int64_t sum = 0;
    for (int d = count - 1; d >= 0; --d) {
      sum += index % size[d] * stride[d];
      index /= size[d];
    }
    return sum;
  }
};

/// The general case, for which speed is not asked: a warp has one entry of y.
template <typename T, typename U>
__global__ void __launch_bounds__(kThreads, 1)
    sum_strided(const T* x, Strides kept, Strides gone, std::int64_t entries, std::int64_t reduced,
                const U* addend, U* y) {
  const std::int64_t entry = std::int64_t{blockIdx.x} * kBlockWarps + threadIdx.x / kWarp;
  if (entry >= entries) return;
  const T* from = x + kept.offset(entry);
  float sum = 0;
  for (std::int64_t i = lane(); i < reduced; i += kWarp) sum += to_float(from[gone.offset(i)]);
  sum = warp_sum(sum);
  if (lane() != 0) return;
  if (addend != nullptr) sum += to_float(addend[entry]);
  y[entry] = from_float<U>(sum);
}

std::vector<bool> dimensions_gone(const TensorType& x, const Attributes& attributes) {
  std::vector<bool> gone(x.shape.size());
  for (const std::int64_t d : attributes.integers("dims")) gone[dimension(d, x.rank())] = true;
  return gone;
}

/// Nothing where the dimensions that go are not neighbours (those of size 1 aside).
std::optional<Middle> as_middle(const TensorType& x, const std::vector<bool>& gone) {
  Middle shape;
  bool began = false, ended = false;
  for (std::size_t d = 0; d < gone.size(); ++d) {
    const std::int64_t size = x.shape[d];
    if (size == 1) continue;
    if (gone[d] && ended) return std::nullopt;
    began = began || gone[d];
    ended = began && !gone[d];
    (gone[d] ? shape.reduced : ended ? shape.inner : shape.outer) *= size;
  }
  return shape;
}

template <typename T, typename U>
Prepared prepare_rows(const Middle& shape) {
  constexpr int kPack = Pack<T>::kSize;
  const int size = shape.inner % kPack == 0 ? kPack : 1;
  const std::int64_t blocks = std::max<std::int64_t>(1, divide_up(shape.reduced, kRowBlock));
  const std::int64_t tiles = divide_up(shape.inner, std::int64_t{kWarp} * size);
  const Grid grid{shape.outer * blocks * tiles, 1, 1, kThreads,
                  static_cast<std::size_t>(kThreads * size) * sizeof(float)};
  if (blocks == 1) {
    const auto kernel = size == 1 ? sum_rows<T, U, 1> : sum_rows<T, U, kPack>;
    return make_kernel([=](const KernelBuffers& buffers) {
      launch(kernel, grid, buffers.stream, buffers.operand<T>(0), shape, buffers.operand<U>(1),
             buffers.result<U>(0));
    });
  }
  const auto kernel = size == 1 ? sum_rows<T, float, 1> : sum_rows<T, float, kPack>;
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* partials = static_cast<float*>(buffers.scratch);
        const float* no_addend = nullptr;
        launch(kernel, grid, buffers.stream, buffers.operand<T>(0), shape, no_addend, partials);
        launch_add_partials(PartialSums<U>{partials, shape.outer, blocks, shape.inner,
                                           buffers.operand<U>(1), buffers.result<U>(0)},
                            buffers.stream);
      },
      static_cast<std::size_t>(shape.outer * blocks * shape.inner) * sizeof(float));
}

template <typename T, typename U>
void launch_sum_runs(const T* x, std::int64_t runs, std::int64_t length, const U* addend, U* y,
                     Stream stream) {
  constexpr int kPack = Pack<T>::kSize;
  constexpr std::int64_t kOneWarp = 8 * kWarp * kPack;  // elements that are enough for one
  const int warps = length <= kOneWarp ? 1 : kBlockWarps;
  const std::int64_t sums = runs * std::max<std::int64_t>(1, divide_up(length, kRunBlock));
  const auto kernel = length % kPack == 0 ? sum_runs<T, U, kPack> : sum_runs<T, U, 1>;
  launch(kernel, Grid{divide_up(sums, kBlockWarps / warps), 1, 1, kThreads}, stream, x, runs,
         length, warps, addend, y);
}

template <typename T, typename U>
Prepared prepare_runs(std::int64_t runs, std::int64_t length) {
  const std::int64_t blocks = divide_up(length, kRunBlock);
  if (blocks <= 1) {
    return make_kernel([=](const KernelBuffers& buffers) {
      launch_sum_runs(buffers.operand<T>(0), runs, length, buffers.operand<U>(1),
                      buffers.result<U>(0), buffers.stream);
    });
  }
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        auto* partials = static_cast<float*>(buffers.scratch);
        const float* no_addend = nullptr;
        launch_sum_runs(buffers.operand<T>(0), runs, length, no_addend, partials, buffers.stream);
        launch_add_partials(
            PartialSums<U>{partials, runs, blocks, 1, buffers.operand<U>(1), buffers.result<U>(0)},
            buffers.stream);
      },
      static_cast<std::size_t>(runs * blocks) * sizeof(float));
}

template <typename T, typename U>
Prepared prepare_strided(const TensorType& x, const std::vector<bool>& gone) {
  if (x.rank() > Strides::kMost) {
    return Declined{fmt::format("{} dimensions; this kernel does {}", x.rank(), Strides::kMost)};
  }
  std::array<Strides, 2> strides;  // of the dimensions that stay, and of those that go
  std::array<std::int64_t, 2> elements{1, 1};
  for (std::size_t d = 0; d < gone.size(); ++d) {
    const std::int64_t stride = elements_of(Shape(x.shape.begin() + d + 1, x.shape.end()));
    strides[gone[d]].add(x.shape[d], stride);
    elements[gone[d]] *= x.shape[d];
  }
  return make_kernel([=](const KernelBuffers& buffers) {
    launch(sum_strided<T, U>, Grid{divide_up(elements[0], kBlockWarps), 1, 1, kThreads},
           buffers.stream, buffers.operand<T>(0), strides[0], strides[1], elements[0], elements[1],
           buffers.operand<U>(1), buffers.result<U>(0));
  });
}

template <typename T, typename U>
Prepared prepare(const TensorType& x, const std::vector<bool>& gone) {
  const auto shape = as_middle(x, gone);
  if (!shape) return prepare_strided<T, U>(x, gone);
  if (shape->outer * shape->inner == 0) return make_kernel([](const KernelBuffers&) {});
  return shape->inner == 1 ? prepare_runs<T, U>(shape->outer, shape->reduced)
                           : prepare_rows<T, U>(*shape);
}

}  // namespace

Prepared reduce_sum(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const TensorType& x = request.operand(0);
  const auto gone = dimensions_gone(x, request.attributes);
  return of_dtype(x.dtype, [&]<typename T>(T) {
    return of_dtype(request.results[0].dtype,
                    [&]<typename U>(U) { return prepare<T, U>(x, gone); });
  });
}

}  // namespace bessemer::kernels::cuda

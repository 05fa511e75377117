// Layer norm (Ba, Kiros and Hinton, 2016) and RMS norm (Zhang and Sennrich, 2019), forward and
// backward. RMS norm is layer norm with mean 0 and no bias, so both share their kernels.
//
// All are bound by memory. Forward reads x and writes y; backward reads dy, x and the addend and
// writes dx, and beside that at most 2 * kGradBlocks rows of partial sums. So a team of warps keeps
// its row in registers between the passes over it, and backward also the columns' sums, over all
// rows of the team, and asks for the next row before it works on this one. Only rows too wide for
// that, or not of whole 16 bytes, are read once for each pass: again from the caches.
#include <cmath>

#include "base/rounding.h"
#include "kernels/prepare.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/largest.cuh"
#include "kernels/cuda/ordered_sum.cuh"
#include "kernels/cuda/team.cuh"

namespace bessemer::kernels::cuda {
namespace {

/// Runs of a row that a thread keeps; 0: it keeps none.
constexpr int kForwardRuns = 4;
constexpr int kBackwardRuns = 2;

constexpr int kMostThreads = 512;  // of a block: what lets a thread have 128 registers

/// Blocks of the backward pass, each of which makes one row of partial sums: two for each
/// multiprocessor of an H100, or one where sums take its shared memory.
constexpr std::int64_t kGradBlocks = 264;
constexpr std::int64_t kWideGradBlocks = 132;

/// Of the shared memory of a block: what compute capability 8.0 has, less some.
constexpr std::size_t kMostSharedBytes = std::size_t{160} << 10;

/// Gain or bias: fp32 or bf16.
struct Parameter {
  const void* data;
  bool is_bf16;

  template <int kSize>
  __device__ Run<float, kSize> at(int column) const {
    return is_bf16 ? load_floats<kSize>(static_cast<const BFloat16*>(data) + column)
                   : load_floats<kSize>(static_cast<const float*>(data) + column);
  }
};

/// The columns of a row that are one thread's: runs of kSize, a team's width apart.
template <int kSize, int kKept>
struct Columns {
  int width, first, step;

  __device__ Columns(int columns, const Team& team)
      : width(columns), first(team.thread * kSize), step(team.threads * kSize) {}

  /// visit(k, column) for each of them: run number k, which is a constant where runs are kept.
  template <typename Visit>
  __device__ void each(Visit visit) const {
    if constexpr (kKept == 0) {
      for (int column = first; column < width; column += step) visit(0, column);
    } else {
      for (int k = 0; k < kKept; ++k) {
        if (first + k * step < width) visit(k, first + k * step);
      }
    }
  }
};

/// A thread's part of a row of T, or where to find it.
template <typename T, int kSize, int kKept>
struct Row {
  const T* memory = nullptr;
  Run<T, kSize> kept[kKept == 0 ? 1 : kKept] = {};

  __device__ void load(const T* from, const Columns<kSize, kKept>& columns) {
    memory = from;
    if constexpr (kKept > 0) {
      columns.each([&](int k, int column) { kept[k] = load_run<kSize>(from + column); });
    }
  }
  __device__ Run<float, kSize> at(int k, int column) const {
    return kKept > 0 ? to_floats(kept[k]) : load_floats<kSize>(memory + column);
  }
};

/// x, y: [rows, width]; mean and rstd: [rows]; bias and mean null where there is none, y where the
/// statistics are enough.
template <typename T>
struct Forward {
  const T* x;
  Parameter gain, bias;
  T* y;
  float* mean;
  float* rstd;
  int rows, width;
  float inverse_width, epsilon;
  int warps;         // of a team
  Magnitude* parts;  // the largest of y in each block; null where it is not asked for
};

/// All threads of the block call it: the largest magnitude that any has, as it is when rounded,
/// which keeps order.
template <typename T>
__device__ void store_largest(Magnitude own, Magnitude* parts) {
  const Magnitude largest = block_max(own, Magnitude{0});
  if (threadIdx.x == 0) parts[blockIdx.x] = magnitude(to_float(from_float<T>(number(largest))));
}

template <int kSize>
__device__ Magnitude largest_of_run(const Run<float, kSize>& run) {
  Magnitude largest = 0;
  for (const float value : run.at) largest = std::max(largest, magnitude(value));
  return largest;
}

template <typename T, int kSize, int kKept, bool kCentred>
__global__ void __launch_bounds__(kMostThreads, 1) normalise(Forward<T> p) {
  const Team team(p.warps);
  const int row = static_cast<int>(blockIdx.x) * team.count + team.index;
  const std::int64_t offset = std::int64_t{row} * p.width;
  const bool is_row = row < p.rows;  // a team without one goes along, over no columns
  const Columns<kSize, kKept> columns(is_row ? p.width : 0, team);
  Row<T, kSize, kKept> x;
  x.load(p.x + offset, columns);
  float mean = 0;
  if constexpr (kCentred) {
    float sum = 0;
    columns.each([&](int k, int column) {
      const auto values = x.at(k, column);
      for (const float value : values.at) sum += value;
    });
    mean = team_sum(sum, team) * p.inverse_width;
  }
  float squares = 0;
  columns.each([&](int k, int column) {
    const auto values = x.at(k, column);
    for (const float value : values.at) squares += (value - mean) * (value - mean);
  });
  const float rstd = 1.0f / std::sqrt(team_sum(squares, team) * p.inverse_width + p.epsilon);
  if (p.y != nullptr) {
    Magnitude largest = 0;
    columns.each([&](int k, int column) {
      auto y = x.at(k, column);
      const auto gain = p.gain.template at<kSize>(column);
      Run<float, kSize> bias = {};
      if (kCentred && p.bias.data != nullptr) bias = p.bias.template at<kSize>(column);
      for (int e = 0; e < kSize; ++e) y.at[e] = (y.at[e] - mean) * rstd * gain.at[e] + bias.at[e];
      store_floats(p.y + offset + column, y);
      largest = std::max(largest, largest_of_run(y));
    });
    if (p.parts != nullptr) store_largest<T>(largest, p.parts);
  }
  if (!is_row || team.thread != 0) return;
  if (kCentred) p.mean[row] = mean;
  p.rstd[row] = rstd;
}

/// dy, x, addend, dx: [rows, width], addend null where absent; dx may be dy or addend. partials:
/// [blocks, 2 * width], or [blocks, width] for RMS norm, whose mean is null.
template <typename T>
struct Backward {
  const T* dy;
  const T* x;
  const T* addend;
  T* dx;
  Parameter gain;
  const float* mean;
  const float* rstd;
  float* partials;
  int rows, width;
  float inverse_width;
  Magnitude* parts;     // the largest of dx in each block; null where it is not asked for
  int warps;            // of a team
  bool sums_in_shared;  // where runs are not kept: else they are where partials are
};

/// Sums over rows of a thread's columns: in registers where runs are kept, else in `memory`.
template <int kSize, int kKept>
struct ColumnSums {
  float* memory;
  Run<float, kSize> kept[kKept == 0 ? 1 : kKept] = {};

  __device__ void clear(const Columns<kSize, kKept>& columns) {
    if constexpr (kKept == 0) {
      columns.each([&](int, int column) { store_floats(memory + column, Run<float, kSize>{}); });
    }
  }
  __device__ void add(int k, int column, const Run<float, kSize>& values) {
    auto sums = at(k, column);
    for (int e = 0; e < kSize; ++e) sums.at[e] += values.at[e];
    if constexpr (kKept > 0) {
      kept[k] = sums;
    } else {
      store_floats(memory + column, sums);
    }
  }
  __device__ Run<float, kSize> at(int k, int column) const {
    return kKept > 0 ? kept[k] : load_floats<kSize>(memory + column);
  }
  /// to[column] = the sums of all teams of the block, added in order in `shared`.
  __device__ void store(const Columns<kSize, kKept>& columns, const Team& team, float* shared,
                        float* to) const {
    for (int t = 0; t < team.count; ++t) {
      if (t == team.index) {
        columns.each([&](int k, int column) {
          auto sums = at(k, column);
          if (t > 0) {
            const auto before = load_floats<kSize>(shared + column);
            for (int e = 0; e < kSize; ++e) sums.at[e] += before.at[e];
          }
          store_floats((t + 1 < team.count ? shared : to) + column, sums);
        });
      }
      sync_block();
    }
  }
};

/// What of one row is asked for while the row before is worked on.
template <typename T, int kSize, int kKept, bool kCentred>
struct GradRow {
  Row<T, kSize, kKept> dy, x;
  float mean = 0, rstd = 0;

  __device__ void load(const Backward<T>& p, int row, const Columns<kSize, kKept>& columns) {
    if (row >= p.rows) return;
    const std::int64_t offset = std::int64_t{row} * p.width;
    dy.load(p.dy + offset, columns);
    x.load(p.x + offset, columns);
    if constexpr (kCentred) mean = p.mean[row];
    rstd = p.rstd[row];
  }
  __device__ Run<float, kSize> normal(int k, int column) const {
    auto values = x.at(k, column);
    for (float& value : values.at) value = (value - mean) * rstd;
    return values;
  }
};

template <typename T, int kSize, int kKept, bool kCentred>
__global__ void __launch_bounds__(kMostThreads, 1) normalise_grad(Backward<T> p) {
  const Team team(p.warps);
  const Columns<kSize, kKept> all_columns(p.width, team);
  float* partials = p.partials + std::int64_t{blockIdx.x} * (kCentred ? 2 : 1) * p.width;
  float* shared = shared_memory<float>();
  float* sums = p.sums_in_shared ? shared : partials;
  ColumnSums<kSize, kKept> gain_sums{sums}, bias_sums{sums + p.width};
  gain_sums.clear(all_columns);
  if constexpr (kCentred) bias_sums.clear(all_columns);
  const int begin = static_cast<int>(blockIdx.x) * team.count;
  const int stride = static_cast<int>(gridDim.x) * team.count;
  GradRow<T, kSize, kKept, kCentred> next;
  next.load(p, begin + team.index, all_columns);
  Magnitude largest = 0;
  // All teams of a block go round as often, as they meet in team_sums.
  for (int first = begin; first < p.rows; first += stride) {
    const int row = first + team.index;
    const std::int64_t offset = std::int64_t{row} * p.width;
    const Columns<kSize, kKept> columns(row < p.rows ? p.width : 0, team);
    const GradRow<T, kSize, kKept, kCentred> own = next;
    next.load(p, row + stride, all_columns);

    float means[] = {0, 0};  // of g = dy * gain, and of g * normal
    columns.each([&](int k, int column) {
      const auto dy = own.dy.at(k, column), normal = own.normal(k, column);
      const auto gain = p.gain.template at<kSize>(column);
      auto slope = dy;
      for (int e = 0; e < kSize; ++e) {
        const float g = dy.at[e] * gain.at[e];
        means[0] += g;
        means[1] += g * normal.at[e];
        slope.at[e] *= normal.at[e];
      }
      gain_sums.add(k, column, slope);
      if constexpr (kCentred) bias_sums.add(k, column, dy);
    });
    Row<T, kSize, kKept> addend;
    if (p.addend != nullptr) addend.load(p.addend + offset, columns);
    team_sums(means, team);
    for (float& mean : means) mean *= p.inverse_width;
    if (!kCentred) means[0] = 0;
    columns.each([&](int k, int column) {
      const auto dy = own.dy.at(k, column), normal = own.normal(k, column);
      const auto gain = p.gain.template at<kSize>(column);
      Run<float, kSize> dx = {};
      if (p.addend != nullptr) dx = addend.at(k, column);
      for (int e = 0; e < kSize; ++e) {
        dx.at[e] += own.rstd * (dy.at[e] * gain.at[e] - means[0] - normal.at[e] * means[1]);
      }
      store_floats(p.dx + offset + column, dx);
      largest = std::max(largest, largest_of_run(dx));
    });
  }
  if (p.parts != nullptr) store_largest<T>(largest, p.parts);
  if (kKept == 0 && !p.sums_in_shared) return;
  gain_sums.store(all_columns, team, shared, partials);
  if constexpr (kCentred) bias_sums.store(all_columns, team, shared + p.width, partials + p.width);
}

/// How rows are dealt out to teams, each of which keeps `runs` runs a thread if that will do.
struct Layout {
  int rows, width;
  bool whole_packs;  // rows are of whole 16 bytes
  bool keeps;        // rows in registers
  int warps;         // of a team
  int threads;       // of a block

  Layout(const TensorType& x, int runs) : width(static_cast<int>(x.dim(-1))) {
    const int size = 16 / static_cast<int>(size_of(x.dtype));
    const int wanted = std::max(1, divide_up(divide_up(width, size), runs * kWarp));
    rows = width > 0 ? static_cast<int>(x.elements() / width) : 0;
    whole_packs = width % size == 0;
    keeps = whole_packs && wanted * kWarp <= kMostThreads;
    warps = keeps ? wanted : std::clamp(wanted, kBlockWarps, kMostThreads / kWarp);
    threads = block_threads(warps);
  }

  int teams() const { return threads / (warps * kWarp); }
};

std::optional<Declined> decline(const KernelRequest& request, const TensorType& x) {
  if (auto declined = decline_other_floats(request)) return declined;
  const std::int64_t width = x.dim(-1), most = std::int64_t{1} << 30;
  if (width > most || (width > 0 && x.elements() / width > most)) {
    return Declined{"more than 2^30 rows or columns"};
  }
  return std::nullopt;
}

Parameter parameter(const KernelBuffers& buffers, std::size_t operand, bool is_bf16) {
  return {buffers.operand<void>(operand), is_bf16};
}

bool is_bf16(const KernelRequest& request, std::size_t operand) {
  return request.has_operand(operand) && request.operand(operand).dtype == DType::bf16;
}

/// With y as the first result, or with the statistics alone.
template <typename T, bool kCentred, bool kWhole>
Prepared forward(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const Layout layout(x, kForwardRuns);
  constexpr int kSize = Pack<T>::kSize;
  const auto kernel = layout.keeps          ? normalise<T, kSize, kForwardRuns, kCentred>
                      : !layout.whole_packs ? normalise<T, 1, 0, kCentred>
                                            : normalise<T, kSize, 0, kCentred>;
  const auto epsilon = static_cast<float>(request.attributes.real("epsilon"));
  const bool gain_is_bf16 = is_bf16(request, 1), bias_is_bf16 = is_bf16(request, 2);
  constexpr std::size_t kStatistics = kWhole ? 1 : 0;
  const std::int64_t blocks = divide_up(layout.rows, layout.teams());
  const bool measured = request.attributes.boolean("measure", false);
  const auto run = [=](const KernelBuffers& buffers) {
    if (layout.rows == 0) return;
    Forward<T> args{};
    args.x = buffers.operand<T>(0);
    args.gain = parameter(buffers, 1, gain_is_bf16);
    args.bias = parameter(buffers, 2, bias_is_bf16);
    args.y = kWhole ? buffers.result<T>(0) : nullptr;
    args.mean = kCentred ? buffers.result<float>(kStatistics) : nullptr;
    args.rstd = buffers.result<float>(kStatistics + (kCentred ? 1 : 0));
    args.rows = layout.rows;
    args.width = layout.width;
    args.inverse_width = 1.0f / static_cast<float>(layout.width);
    args.epsilon = epsilon;
    args.warps = layout.warps;
    if (measured) args.parts = static_cast<Magnitude*>(buffers.scratch);
    launch(kernel, Grid{blocks, 1, 1, layout.threads}, buffers.stream, args);
    if (!measured) return;
    launch_largest_of(args.parts, blocks, static_cast<float*>(buffers.results.back()),
                      buffers.stream);
  };
  return make_kernel(run, measured ? float_bytes(blocks) : 0);
}

/// Operands: dy, x, gain, mean (layer norm only), rstd, addend?.
template <typename T, bool kCentred>
Prepared backward(const KernelRequest& request) {
  const Layout layout(request.operand(1), kBackwardRuns);
  constexpr int kSize = Pack<T>::kSize;
  const auto kernel = layout.keeps          ? normalise_grad<T, kSize, kBackwardRuns, kCentred>
                      : !layout.whole_packs ? normalise_grad<T, 1, 0, kCentred>
                                            : normalise_grad<T, kSize, 0, kCentred>;
  const std::int64_t sums = (kCentred ? 2 : 1) * std::int64_t{layout.width};
  const std::size_t sum_bytes = static_cast<std::size_t>(sums) * sizeof(float);
  const bool sums_in_shared = !layout.keeps && sum_bytes <= kMostSharedBytes;
  const bool needs_shared = sums_in_shared || layout.teams() > 1;
  const std::int64_t blocks = std::min<std::int64_t>(
      divide_up(layout.rows, layout.teams()), sums_in_shared ? kWideGradBlocks : kGradBlocks);
  const bool gain_is_bf16 = is_bf16(request, 2);
  const bool measured = request.attributes.boolean("measure", false);
  constexpr std::size_t kRstd = kCentred ? 4 : 3;
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        Backward<T> args{};
        args.dy = buffers.operand<T>(0);
        args.x = buffers.operand<T>(1);
        args.addend = buffers.operand<T>(kRstd + 1);
        args.dx = buffers.result<T>(0);
        args.gain = parameter(buffers, 2, gain_is_bf16);
        args.mean = kCentred ? buffers.operand<float>(3) : nullptr;
        args.rstd = buffers.operand<float>(kRstd);
        args.partials = static_cast<float*>(buffers.scratch);
        args.rows = layout.rows;
        args.width = layout.width;
        args.inverse_width = 1.0f / static_cast<float>(layout.width);
        args.warps = layout.warps;
        args.sums_in_shared = sums_in_shared;
        if (measured) args.parts = reinterpret_cast<Magnitude*>(args.partials + blocks * sums);
        const Grid grid{blocks, 1, 1, layout.threads, needs_shared ? sum_bytes : 0};
        if (blocks > 0) launch(kernel, grid, buffers.stream, args);
        PartialSums<float> total{args.partials, 1, blocks, sums, nullptr, buffers.result<float>(1)};
        if (kCentred) total.second = buffers.result<float>(2);
        total.width_of_first = layout.width;
        if (layout.width > 0) launch_add_partials(total, buffers.stream);
        if (!measured) return;
        launch_largest_of(args.parts, blocks, static_cast<float*>(buffers.results.back()),
                          buffers.stream);
      },
      static_cast<std::size_t>(blocks) * sum_bytes + (measured ? float_bytes(blocks) : 0));
}

template <bool kCentred, bool kWhole>
Prepared prepare_forward(const KernelRequest& request) {
  if (auto declined = decline(request, request.operand(0))) return *declined;
  return of_dtype(request.operand(0).dtype,
                  [&]<typename T>(T) { return forward<T, kCentred, kWhole>(request); });
}

template <bool kCentred>
Prepared prepare_backward(const KernelRequest& request) {
  if (auto declined = decline(request, request.operand(1))) return *declined;
  return of_dtype(request.operand(1).dtype,
                  [&]<typename T>(T) { return backward<T, kCentred>(request); });
}

}  // namespace

Prepared layer_norm(const KernelRequest& request) { return prepare_forward<true, true>(request); }
Prepared layer_norm_grad(const KernelRequest& request) { return prepare_backward<true>(request); }
Prepared rms_norm(const KernelRequest& request) { return prepare_forward<false, true>(request); }
Prepared rms_norm_grad(const KernelRequest& request) { return prepare_backward<false>(request); }
Prepared norm_statistics(const KernelRequest& request) {
  return request.attributes.boolean("centred") ? prepare_forward<true, false>(request)
                                               : prepare_forward<false, false>(request);
}

}  // namespace bessemer::kernels::cuda

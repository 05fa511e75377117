#include "kernels/cpu/gemm.h"

#include <algorithm>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/cpu/gemm_target.h"

namespace bessemer::kernels::cpu {
namespace {

// Packed columns of b, shared by the threads: small enough to be used while still in cache, but not
// so few that a is packed again and again.
constexpr std::int64_t kPackedColumnBytes = std::int64_t{2} << 20;
constexpr std::int64_t kFewestPackedPanels = 8;
// With columns split: the deepest pass over k, and the most often that b is packed.
constexpr std::int64_t kColumnDepth = 1024;
constexpr std::int64_t kMostOwnBlocks = 4;
constexpr std::int64_t kSmallWork = std::int64_t{1}
                                    << 17;  // multiply-adds not worth a second thread

/// Rows: every thread packs `row_block` rows of a over `depth` (half its L2), and multiplies them
/// with its group of columns of b that all have packed together. Columns: every thread packs all
/// blocks of a for itself, and for each its share of b panel by panel, used at once; with few rows,
/// panels that travel between the cores would cost more.
enum class Split : std::uint8_t { rows, columns };

/// How the product is cut.
struct Blocking {
  Split split = Split::rows;
  std::int64_t depth = 0;         // along k, packed at once; beyond it sums wait in memory
  std::int64_t row_block = 0;     // multiple of the tile's rows
  std::int64_t column_block = 0;  // multiple of the tile's columns: columns of b packed at once
  std::int64_t column_groups = 1;
  int threads = 1;
};

/// The depth of even passes over k, none deeper than `deepest` but for rounding.
std::int64_t even_depth(std::int64_t k, std::int64_t deepest) {
  const std::int64_t passes = std::max<std::int64_t>(1, divide_up(k, deepest));
  return round_up(std::max<std::int64_t>(1, divide_up(k, passes)), kDepthBlock);
}

Blocking choose_blocking(const ProductSpec& s, const GemmTarget& target, const Machine& machine) {
  Blocking b;
  b.threads = s.m * s.n * s.k <= kSmallWork ? 1 : std::max(1, machine.threads);
  const auto half_l2 = static_cast<std::int64_t>(machine.l2_bytes / 2 / sizeof(float));
  const std::int64_t narrow_depth = even_depth(s.k, kColumnDepth);
  const std::int64_t own_blocks = divide_up(s.m, std::max(target.rows, half_l2 / narrow_depth));
  if (own_blocks <= kMostOwnBlocks && s.n >= kFewestPackedPanels * b.threads * target.columns) {
    b.split = Split::columns;
    b.depth = narrow_depth;
    b.row_block = round_up(divide_up(s.m, own_blocks), target.rows);
    b.column_block = target.columns;
    return b;
  }
  b.depth = even_depth(s.k, std::clamp<std::int64_t>(half_l2 / (8 * target.rows), 1024, 2048));

  const std::int64_t most_rows =
      std::clamp<std::int64_t>(half_l2 / b.depth / target.rows, 1, 36) * target.rows;
  std::int64_t row_blocks = divide_up(s.m, most_rows);
  if (s.m >= 4 * target.rows * b.threads) row_blocks = round_up(row_blocks, b.threads);
  b.row_block = round_up(divide_up(s.m, row_blocks), target.rows);
  row_blocks = divide_up(s.m, b.row_block);

  const std::int64_t fewest = std::max<std::int64_t>(kFewestPackedPanels, 2 * b.threads);
  const std::int64_t most = std::max(kPackedColumnBytes / 4 / b.depth / target.columns, fewest);
  b.column_block = std::min(divide_up(s.n, target.columns), most) * target.columns;
  if (row_blocks < b.threads) {
    b.column_groups = std::min(divide_up(b.threads, row_blocks), b.column_block / target.columns);
  }
  return b;
}

class Gemm final : public Product {
 public:
  Gemm(const ProductSpec& spec, const Machine& machine)
      : spec_(spec), target_(gemm_target()), blocking_(choose_blocking(spec, target_, machine)) {
    const Blocking& b = blocking_;
    packed_b_bytes_ = align_up(static_cast<std::size_t>(b.depth * b.column_block) * sizeof(float));
    packed_a_bytes_ = align_up(static_cast<std::size_t>(b.depth * b.row_block) * sizeof(float));
    strip_bytes_ =
        align_up(static_cast<std::size_t>(b.row_block * target_.columns) * sizeof(float));
    sums_start_from_addend_ =
        spec.addend && spec.result == DType::fp32 && spec.activation == Activation::none;
    // Where sums must wait between passes over k: in the result if it is fp32 and no addend must
    // outlive the first pass.
    const bool many_passes = spec.k > b.depth;
    const bool in_result = spec.result == DType::fp32 && (!spec.addend || sums_start_from_addend_);
    if (many_passes && !in_result) {
      partial_bytes_ = align_up(static_cast<std::size_t>(spec.m * spec.n) * sizeof(float));
    }
  }

  std::size_t scratch_bytes() const override {
    const auto threads = static_cast<std::size_t>(blocking_.threads);
    const std::size_t packed_b = blocking_.split == Split::rows ? 1 : threads;
    return partial_bytes_ + packed_b * packed_b_bytes_ + threads * (packed_a_bytes_ + strip_bytes_);
  }

  void run(const ProductBuffers& buffers) const override {
    if (blocking_.split == Split::columns) return run_columns(buffers);
    for (std::int64_t column = 0; column < spec_.n; column += blocking_.column_block) {
      const std::int64_t columns = std::min(blocking_.column_block, spec_.n - column);
      for (std::int64_t pass = 0; pass < passes(); ++pass) {
        run_pass(buffers, pass_of(pass, column, columns));
      }
    }
  }

 private:
  /// Columns [column, column + columns) over k in [k0, k0 + depth).
  struct Pass {
    std::int64_t column, columns, k0, depth;
    bool first, last;
  };

  MatrixView view_a(const void* data) const {
    return spec_.transpose_a ? MatrixView{data, spec_.a, 1, spec_.a_stride()}
                             : MatrixView{data, spec_.a, spec_.a_stride(), 1};
  }
  MatrixView view_b(const void* data) const {
    return spec_.transpose_b ? MatrixView{data, spec_.b, 1, spec_.k}
                             : MatrixView{data, spec_.b, spec_.n, 1};
  }
  std::int64_t passes() const {
    return std::max<std::int64_t>(1, divide_up(spec_.k, blocking_.depth));
  }
  Pass pass_of(std::int64_t pass, std::int64_t column, std::int64_t columns) const {
    const std::int64_t k0 = pass * blocking_.depth;
    return {column,    columns,
            k0,        std::min(blocking_.depth, spec_.k - k0),
            pass == 0, pass + 1 == passes()};
  }

  // Scratch: partial sums, packed b (one, or one for each thread), then a and a strip per thread.
  float* partial(const ProductBuffers& buffers) const {
    return partial_bytes_ > 0 ? reinterpret_cast<float*>(buffers.scratch)
                              : static_cast<float*>(buffers.result);
  }
  std::int64_t partial_stride() const {
    return partial_bytes_ > 0 ? spec_.n : spec_.result_stride();
  }
  float* packed_b(const ProductBuffers& buffers, int index) const {
    return reinterpret_cast<float*>(buffers.scratch + partial_bytes_ +
                                    static_cast<std::size_t>(index) * packed_b_bytes_);
  }
  float* packed_a(const ProductBuffers& buffers, int thread) const {
    const std::size_t own = packed_a_bytes_ + strip_bytes_;
    return reinterpret_cast<float*>(buffers.scratch + scratch_bytes() -
                                    static_cast<std::size_t>(blocking_.threads - thread) * own);
  }
  float* strip(const ProductBuffers& buffers, int thread) const {
    return packed_a(buffers, thread) + packed_a_bytes_ / sizeof(float);
  }

  void run_columns(const ProductBuffers& buffers) const {
    const std::int64_t panels = divide_up(spec_.n, target_.columns);
    const auto run_share = [&](std::int64_t share, int thread) {
      const std::int64_t begin = panels * share / blocking_.threads;
      const std::int64_t end = panels * (share + 1) / blocking_.threads;
      for (std::int64_t row = 0; row < spec_.m; row += blocking_.row_block) {
        for (std::int64_t pass = 0; pass < passes(); ++pass) {
          run_panels(buffers, pass, row, begin, end, thread);
        }
      }
    };
    parallel_items(blocking_.threads, run_share);
  }

  /// One block of rows over one pass times panels [begin, end), each packed and used at once.
  void run_panels(const ProductBuffers& buffers, std::int64_t pass, std::int64_t row,
                  std::int64_t begin, std::int64_t end, int thread) const {
    const std::int64_t rows = std::min(blocking_.row_block, spec_.m - row);
    float* panel = packed_b(buffers, thread);
    pack_rows(buffers, pass_of(pass, 0, 0), row, rows, packed_a(buffers, thread));
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t column = p * target_.columns;
      const Pass one = pass_of(pass, column, std::min(target_.columns, spec_.n - column));
      target_.pack_b(view_b(buffers.b), one.k0, one.depth, column, one.columns, panel);
      multiply_panel(buffers, one, row, rows, 0, panel, thread);
    }
  }

  void run_pass(const ProductBuffers& buffers, const Pass& pass) const {
    const std::int64_t panels = divide_up(pass.columns, target_.columns);
    const auto pack_panels = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        const std::int64_t column = p * target_.columns;
        target_.pack_b(view_b(buffers.b), pass.k0, pass.depth, pass.column + column,
                       std::min(target_.columns, pass.columns - column),
                       packed_b(buffers, 0) + column * pass.depth);
      }
    };
    parallel_for(panels, blocking_.threads == 1 ? panels : 1, pack_panels);

    const std::int64_t groups = std::min(blocking_.column_groups, panels);
    const std::int64_t items = divide_up(spec_.m, blocking_.row_block) * groups;
    const auto run_item = [&](std::int64_t item, int thread) {
      const std::int64_t group = item % groups;
      const std::int64_t row = item / groups * blocking_.row_block;
      const std::int64_t rows = std::min(blocking_.row_block, spec_.m - row);
      pack_rows(buffers, pass, row, rows, packed_a(buffers, thread));
      for (std::int64_t p = panels * group / groups; p < panels * (group + 1) / groups; ++p) {
        const std::int64_t column = p * target_.columns;
        multiply_panel(buffers, pass, row, rows, column, packed_b(buffers, 0) + column * pass.depth,
                       thread);
      }
    };
    if (blocking_.threads > 1) return parallel_items(items, run_item);
    for (std::int64_t item = 0; item < items; ++item) run_item(item, 0);
  }

  std::int64_t block_floats(std::int64_t rows) const {
    return round_up(rows, target_.rows) * kDepthBlock;
  }

  void pack_rows(const ProductBuffers& buffers, const Pass& pass, std::int64_t row,
                 std::int64_t rows, float* packed) const {
    for (std::int64_t k = 0; k < pass.depth; k += kDepthBlock) {
      target_.pack_a(view_a(buffers.a), row, rows, pass.k0 + k,
                     std::min(kDepthBlock, pass.depth - k),
                     packed + k / kDepthBlock * block_floats(rows));
    }
  }

  /// The thread's packed rows times the panel of columns from pass.column + column on.
  void multiply_panel(const ProductBuffers& buffers, const Pass& pass, std::int64_t row,
                      std::int64_t rows, std::int64_t column, const float* panel,
                      int thread) const {
    const ALayout layout = spec_.transpose_a ? ALayout::row_minor : ALayout::depth_minor;
    const std::int64_t tiles = divide_up(rows, target_.rows);
    const std::int64_t count = std::min(target_.columns, pass.columns - column);
    const std::int64_t first_column = pass.column + column;
    const std::int64_t partial_offset = row * partial_stride() + first_column;
    const float* a = packed_a(buffers, thread);
    float* sums = strip(buffers, thread);
    const float* begun = pass.first ? nullptr : partial(buffers);
    if (pass.first && sums_start_from_addend_) begun = static_cast<const float*>(buffers.addend);
    if (begun) target_.load(begun + partial_offset, partial_stride(), rows, count, sums);
    if (pass.depth <= 0) target_.multiply(a, layout, tiles, panel, 0, begun != nullptr, sums);
    for (std::int64_t k = 0; k < pass.depth; k += kDepthBlock) {
      target_.multiply(a + k / kDepthBlock * block_floats(rows), layout, tiles,
                       panel + k * target_.columns, std::min(kDepthBlock, pass.depth - k),
                       k > 0 || begun != nullptr, sums);
    }
    target_.finish(sums, rows, count, epilogue(buffers, pass, row, first_column));
  }

  Epilogue epilogue(const ProductBuffers& buffers, const Pass& pass, std::int64_t row,
                    std::int64_t column) const {
    Epilogue e;
    e.row_stride = spec_.result_stride();
    const std::int64_t offset = row * e.row_stride + column;
    const auto at = [](const void* p, std::int64_t index, DType dtype) -> const void* {
      return p ? static_cast<const std::byte*>(p) +
                     index * static_cast<std::int64_t>(size_of(dtype))
               : nullptr;
    };
    if (spec_.addend && pass.last && !sums_start_from_addend_) {
      e.addend = at(buffers.addend, offset, spec_.result);
    }
    if (!pass.last) {
      e.row_stride = partial_stride();
      e.result = partial(buffers) + row * e.row_stride + column;
      return e;
    }
    e.bias_dtype = spec_.bias.value_or(DType::fp32);
    e.bias = at(spec_.bias ? buffers.bias : nullptr, column, e.bias_dtype);
    e.activation = spec_.activation;
    e.dtype = spec_.result;
    e.result = const_cast<void*>(at(buffers.result, offset, spec_.result));
    return e;
  }

  ProductSpec spec_;
  GemmTarget target_;
  Blocking blocking_;
  bool sums_start_from_addend_ = false;
  std::size_t packed_b_bytes_ = 0, packed_a_bytes_ = 0, strip_bytes_ = 0, partial_bytes_ = 0;
};

}  // namespace

std::unique_ptr<const Product> make_gemm(const ProductSpec& spec, const Machine& machine) {
  return std::make_unique<const Gemm>(spec, machine);
}

}  // namespace bessemer::kernels::cpu

#include "kernels/cpu/gemm.h"

#include <algorithm>

#include "base/arena.h"
#include "base/parallel.h"
#include "kernels/cpu/gemm_target.h"

namespace bessemer::kernels::cpu {
namespace {

// Packed columns of b, shared by the threads: small enough to be used while still in cache, but not
// so few that a is packed again and again.
constexpr std::int64_t kPackedColumnBytes = std::int64_t{2} << 20;
constexpr std::int64_t kFewestPackedPanels = 8;
constexpr std::int64_t kSmallWork = std::int64_t{1}
                                    << 17;  // multiply-adds not worth a second thread

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return divide_up(a, b) * b; }

/// How the product is cut. Every thread packs `row_block` rows of a over `depth` (half its L2), and
/// multiplies them with its group of the packed columns of b.
struct Blocking {
  std::int64_t depth = 0;         // along k, packed at once; beyond it sums wait in memory
  std::int64_t row_block = 0;     // multiple of the tile's rows
  std::int64_t column_block = 0;  // multiple of the tile's columns: columns of b packed at once
  std::int64_t column_groups = 1;
  int threads = 1;
};

Blocking choose_blocking(const ProductSpec& s, const GemmTarget& target, const Machine& machine) {
  Blocking b;
  b.threads = s.m * s.n * s.k <= kSmallWork ? 1 : std::max(1, machine.threads);
  const auto half_l2 = static_cast<std::int64_t>(machine.l2_bytes / 2 / sizeof(float));
  const std::int64_t deepest = std::clamp<std::int64_t>(half_l2 / (8 * target.rows), 1024, 4096);
  const std::int64_t passes = std::max<std::int64_t>(1, divide_up(s.k, deepest));
  b.depth = round_up(std::max<std::int64_t>(1, divide_up(s.k, passes)), kDepthBlock);

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
    // Where sums must wait between passes over k: in the result if it is fp32 and nothing but a
    // bias remains to be done, or the addend need not outlive the first pass.
    const bool many_passes = spec.k > b.depth;
    const bool in_result =
        spec.result == DType::fp32 && (!spec.addend || spec.activation == Activation::none);
    if (many_passes && !in_result) {
      partial_bytes_ = align_up(static_cast<std::size_t>(spec.m * spec.n) * sizeof(float));
    }
  }

  std::size_t scratch_bytes() const override {
    return packed_b_bytes_ + partial_bytes_ +
           static_cast<std::size_t>(blocking_.threads) * (packed_a_bytes_ + strip_bytes_);
  }

  void run(const ProductBuffers& buffers) const override {
    const std::int64_t passes = std::max<std::int64_t>(1, divide_up(spec_.k, blocking_.depth));
    for (std::int64_t column = 0; column < spec_.n; column += blocking_.column_block) {
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        run_pass(buffers, {column, std::min(blocking_.column_block, spec_.n - column),
                           pass * blocking_.depth,
                           std::min(blocking_.depth, spec_.k - pass * blocking_.depth), pass == 0,
                           pass + 1 == passes});
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
    return spec_.transpose_a ? MatrixView{data, spec_.a, 1, spec_.m}
                             : MatrixView{data, spec_.a, spec_.k, 1};
  }
  MatrixView view_b(const void* data) const {
    return spec_.transpose_b ? MatrixView{data, spec_.b, 1, spec_.k}
                             : MatrixView{data, spec_.b, spec_.n, 1};
  }
  float* packed_b(std::byte* scratch) const { return reinterpret_cast<float*>(scratch); }
  float* partial(const ProductBuffers& buffers) const {
    return partial_bytes_ > 0 ? reinterpret_cast<float*>(buffers.scratch + packed_b_bytes_)
                              : static_cast<float*>(buffers.result);
  }

  void run_pass(const ProductBuffers& buffers, const Pass& pass) const {
    const std::int64_t panels = divide_up(pass.columns, target_.columns);
    const auto pack_panels = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        const std::int64_t column = p * target_.columns;
        target_.pack_b(view_b(buffers.b), pass.k0, pass.depth, pass.column + column,
                       std::min(target_.columns, pass.columns - column),
                       packed_b(buffers.scratch) + column * pass.depth);
      }
    };
    parallel_for(panels, blocking_.threads == 1 ? panels : 1, pack_panels);

    const std::int64_t groups = std::min(blocking_.column_groups, panels);
    const std::int64_t items = divide_up(spec_.m, blocking_.row_block) * groups;
    const auto run_item = [&](std::int64_t item, int thread) {
      const std::int64_t group = item % groups;
      run_block(buffers, pass, item / groups * blocking_.row_block, panels * group / groups,
                panels * (group + 1) / groups, thread);
    };
    if (blocking_.threads > 1) return parallel_items(items, run_item);
    for (std::int64_t item = 0; item < items; ++item) run_item(item, 0);
  }

  /// One block of rows times panels [begin, end) of the packed columns.
  void run_block(const ProductBuffers& buffers, const Pass& pass, std::int64_t row,
                 std::int64_t begin, std::int64_t end, int thread) const {
    const std::int64_t rows = std::min(blocking_.row_block, spec_.m - row);
    const std::int64_t tiles = divide_up(rows, target_.rows);
    const std::int64_t block_floats = tiles * target_.rows * kDepthBlock;
    std::byte* own = buffers.scratch + packed_b_bytes_ + partial_bytes_ +
                     static_cast<std::size_t>(thread) * (packed_a_bytes_ + strip_bytes_);
    auto* packed_a = reinterpret_cast<float*>(own);
    auto* strip = reinterpret_cast<float*>(own + packed_a_bytes_);

    for (std::int64_t k = 0; k < pass.depth; k += kDepthBlock) {
      target_.pack_a(view_a(buffers.a), row, rows, pass.k0 + k,
                     std::min(kDepthBlock, pass.depth - k),
                     packed_a + k / kDepthBlock * block_floats);
    }
    const ALayout layout = spec_.transpose_a ? ALayout::row_minor : ALayout::depth_minor;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t column = p * target_.columns;
      const std::int64_t count = std::min(target_.columns, pass.columns - column);
      const std::int64_t offset = row * spec_.n + pass.column + column;
      const float* panel = packed_b(buffers.scratch) + column * pass.depth;
      if (!pass.first) target_.load(partial(buffers) + offset, spec_.n, rows, count, strip);
      if (pass.depth <= 0) target_.multiply(packed_a, layout, tiles, panel, 0, false, strip);
      for (std::int64_t k = 0; k < pass.depth; k += kDepthBlock) {
        target_.multiply(packed_a + k / kDepthBlock * block_floats, layout, tiles,
                         panel + k * target_.columns, std::min(kDepthBlock, pass.depth - k),
                         k > 0 || !pass.first, strip);
      }
      target_.finish(strip, rows, count, epilogue(buffers, pass, offset, pass.column + column));
    }
  }

  Epilogue epilogue(const ProductBuffers& buffers, const Pass& pass, std::int64_t offset,
                    std::int64_t column) const {
    Epilogue e;
    e.row_stride = spec_.n;
    const auto at = [](const void* p, std::int64_t index, DType dtype) -> const void* {
      return p ? static_cast<const std::byte*>(p) +
                     index * static_cast<std::int64_t>(size_of(dtype))
               : nullptr;
    };
    // Sums that wait in the result take the addend at once: nothing else may keep it alive.
    const bool addend_first = pass.first && !pass.last && partial_bytes_ == 0;
    const bool addend_last = pass.last && (pass.first || partial_bytes_ > 0);
    if (spec_.addend && (addend_first || addend_last)) {
      e.addend = at(buffers.addend, offset, spec_.result);
    }
    if (!pass.last) {
      e.result = partial(buffers) + offset;
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
  std::size_t packed_b_bytes_ = 0, packed_a_bytes_ = 0, strip_bytes_ = 0, partial_bytes_ = 0;
};

}  // namespace

std::unique_ptr<const Product> make_gemm(const ProductSpec& spec, const Machine& machine) {
  return std::make_unique<const Gemm>(spec, machine);
}

}  // namespace bessemer::kernels::cpu

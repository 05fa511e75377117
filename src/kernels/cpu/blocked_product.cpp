#include "kernels/cpu/blocked_product.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/arena.h"
#include "kernels/cpu/cpu.h"
#include "kernels/product_block.h"

namespace bessemer::kernels::cpu {
namespace {

enum class Cut : std::uint8_t { none, columns, depth, rows };

/// How the product would be cut, and the rows and columns of the matrix of weights as stored.
struct Weights {
  Cut cut = Cut::none;
  std::int64_t rows = 0, columns = 0;
};

Weights weights_of(const ProductSpec& s) {
  if (!s.transpose_a && s.transpose_b) return {Cut::columns, s.n, s.k};
  if (s.transpose_b || s.bias || s.activation != Activation::none) return {};
  if (s.transpose_a) return {Cut::rows, s.m, s.n};
  return s.result_row == 0 ? Weights{Cut::depth, s.k, s.n} : Weights{};
}

std::int64_t bytes_of(DType dtype, std::int64_t elements) {
  return elements * static_cast<std::int64_t>(size_of(dtype));
}

const void* after(const void* p, std::int64_t bytes) {
  return p ? static_cast<const std::byte*>(p) + bytes : nullptr;
}

void* after(void* p, std::int64_t bytes) { return static_cast<std::byte*>(p) + bytes; }

/// The products of a whole block and of the rest after the last whole one, where there is a rest.
struct BlockProducts {
  std::unique_ptr<const Product> whole, rest;
  std::int64_t rows = 0;  // of a whole block
  bool complete = false;  // none is missing

  template <typename SpecOf>
  BlockProducts(std::int64_t all_rows, std::int64_t columns, const SpecOf& spec_of,
                const Machine& machine)
      : rows(product_block_rows(columns)) {
    whole = make_single_product(spec_of(rows), machine);
    const std::int64_t left = all_rows % rows;
    if (left > 0) rest = make_single_product(spec_of(left), machine);
    complete = whole && (rest || left == 0);
  }

  std::size_t scratch_bytes() const {
    return std::max(whole ? whole->scratch_bytes() : 0, rest ? rest->scratch_bytes() : 0);
  }
  /// Of the block that begins at row `begin`.
  const Product& at(std::int64_t begin, std::int64_t all_rows) const {
    return all_rows - begin < rows ? *rest : *whole;
  }
};

ProductSpec columns_of(ProductSpec spec, std::int64_t count) {
  spec.result_row = spec.result_stride();
  spec.n = count;
  return spec;
}

class ResultColumns final : public Product {
 public:
  ResultColumns(const ProductSpec& spec, const Machine& machine)
      : spec_(spec),
        blocks_(
            spec.n, spec.k, [&](std::int64_t n) { return columns_of(spec, n); }, machine) {}

  bool complete() const { return blocks_.complete; }
  std::size_t scratch_bytes() const override { return blocks_.scratch_bytes(); }
  void run(const ProductBuffers& buffers) const override {
    for (std::int64_t n = 0; n < spec_.n; n += blocks_.rows) {
      ProductBuffers part = buffers;
      part.b = after(buffers.b, bytes_of(spec_.b, n * spec_.k));
      part.bias = after(buffers.bias, bytes_of(spec_.bias.value_or(DType::fp32), n));
      part.addend = after(buffers.addend, bytes_of(spec_.result, n));
      part.result = after(buffers.result, bytes_of(spec_.result, n));
      blocks_.at(n, spec_.n).run(part);
    }
  }

 private:
  ProductSpec spec_;
  BlockProducts blocks_;
};

ProductSpec rows_of(ProductSpec spec, std::int64_t count) {
  spec.a_row = spec.a_stride();
  spec.m = count;
  return spec;
}

class GradientRows final : public Product {
 public:
  GradientRows(const ProductSpec& spec, const Machine& machine)
      : spec_(spec),
        blocks_(
            spec.m, spec.n, [&](std::int64_t m) { return rows_of(spec, m); }, machine) {}

  bool complete() const { return blocks_.complete; }
  std::size_t scratch_bytes() const override { return blocks_.scratch_bytes(); }
  void run(const ProductBuffers& buffers) const override {
    for (std::int64_t m = 0; m < spec_.m; m += blocks_.rows) {
      const std::int64_t skipped = bytes_of(spec_.result, m * spec_.result_stride());
      ProductBuffers part = buffers;
      part.a = after(buffers.a, bytes_of(spec_.a, m));
      part.addend = after(buffers.addend, skipped);
      part.result = after(buffers.result, skipped);
      blocks_.at(m, spec_.m).run(part);
    }
  }

 private:
  ProductSpec spec_;
  BlockProducts blocks_;
};

/// An fp32 sum, which may start from the addend.
ProductSpec depth_of(ProductSpec spec, std::int64_t count, bool addend) {
  spec.a_row = spec.a_stride();
  spec.k = count;
  spec.result = DType::fp32;
  spec.addend = addend;
  return spec;
}

class SumParts final : public Product {
 public:
  SumParts(const ProductSpec& spec, const Machine& machine)
      : spec_(spec),
        in_result_(spec.result == DType::fp32),
        first_(make_single_product(
            depth_of(spec, product_block_rows(spec.n), in_result_ && spec.addend), machine)),
        blocks_(
            spec.k, spec.n, [&](std::int64_t k) { return depth_of(spec, k, true); }, machine) {
    if (in_result_) return;
    sum_bytes_ = align_up(static_cast<std::size_t>(spec.m * spec.n) * sizeof(float));
    prepare_rounding(machine);
  }

  bool complete() const {
    return first_ && blocks_.complete && (in_result_ || rounding_ != nullptr);
  }
  std::size_t scratch_bytes() const override {
    const std::size_t rounding = rounding_ ? rounding_->scratch_bytes() : 0;
    return sum_bytes_ + std::max({first_->scratch_bytes(), blocks_.scratch_bytes(), rounding});
  }

  void run(const ProductBuffers& buffers) const override {
    ProductBuffers part = buffers;
    part.result = in_result_ ? buffers.result : buffers.scratch;
    part.addend = in_result_ ? buffers.addend : nullptr;
    part.scratch = buffers.scratch + sum_bytes_;
    for (std::int64_t k = 0; k < spec_.k; k += blocks_.rows) {
      part.a = after(buffers.a, bytes_of(spec_.a, k));
      part.b = after(buffers.b, bytes_of(spec_.b, k * spec_.n));
      (k == 0 ? *first_ : blocks_.at(k, spec_.k)).run(part);
      part.addend = part.result;
    }
    if (!rounding_) return;
    const std::array<const void*, 2> addend_and_sum{buffers.addend, part.result};
    const std::span<const void* const> all(addend_and_sum);
    std::array<void*, 1> result{buffers.result};
    rounding_->run({spec_.addend ? all : all.subspan(1), result, part.scratch});
  }

 private:
  // As the ops `add` and `cast` do it, of which a product in tiles is finished.
  void prepare_rounding(const Machine& machine) {
    const Attributes none;
    const TensorType sum{DType::fp32, {spec_.m, spec_.n}}, result{spec_.result, sum.shape};
    const std::array<std::optional<TensorType>, 2> types{result, sum};
    const std::span<const std::optional<TensorType>> all(types);
    const std::span<const TensorType> results(&result, 1);
    Prepared prepared = spec_.addend ? add({all, results, none, machine})
                                     : cast({all.subspan(1), results, none, machine});
    if (auto* kernel = std::get_if<std::unique_ptr<const Kernel>>(&prepared)) {
      rounding_ = std::move(*kernel);
    }
  }

  ProductSpec spec_;
  bool in_result_;
  std::unique_ptr<const Product> first_;
  BlockProducts blocks_;
  std::unique_ptr<const Kernel> rounding_;
  std::size_t sum_bytes_ = 0;
};

template <typename Blocks>
std::unique_ptr<const Product> made(const ProductSpec& spec, const Machine& machine) {
  auto product = std::make_unique<const Blocks>(spec, machine);
  if (!product->complete()) return nullptr;
  return product;
}

}  // namespace

std::unique_ptr<const Product> make_blocked_product(const ProductSpec& spec,
                                                    const Machine& machine) {
  const Weights weights = weights_of(spec);
  if (weights.rows <= product_block_rows(weights.columns)) return nullptr;
  switch (weights.cut) {
    case Cut::columns: return made<ResultColumns>(spec, machine);
    case Cut::depth: return made<SumParts>(spec, machine);
    case Cut::rows: return made<GradientRows>(spec, machine);
    case Cut::none: break;
  }
  return nullptr;
}

bool has_large_matrix(const ProductSpec& spec) {
  const Weights weights = weights_of(spec);
  return is_large_matrix(weights.rows, weights.columns);
}

}  // namespace bessemer::kernels::cpu

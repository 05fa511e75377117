#include "base/error.h"
#include "kernels/reference/access.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

/// Row-major matrices, one after the other; `transposed` reads element (i, j) at (j, i).
struct Matrices {
  const Doubles& values;
  std::int64_t columns;  // as stored
  std::int64_t stride;   // from one matrix to the next; 0 where one is shared
  bool transposed;

  double at(std::int64_t matrix, std::int64_t i, std::int64_t j) const {
    const std::int64_t element = transposed ? j * columns + i : i * columns + j;
    return values[static_cast<std::size_t>(matrix * stride + element)];
  }
};

struct MatmulAttributes {
  bool transpose_a, transpose_b, row_sums;
  std::string activation;
};

/// activation(sum of element e), or the sum times gelu's derivative at operand 4.
double epilogue(const MatmulAttributes& attributes, double sum, const Doubles& x, std::size_t e) {
  if (attributes.activation == "gelu_tanh_grad") return sum * gelu_tanh_derivative(x[e]);
  return activation_named(attributes.activation)(sum);
}

void run_matmul(const Call& call, const MatmulAttributes& attributes) {
  const TensorType& type_a = call.type(0);
  const TensorType& type_b = call.type(1);
  const std::int64_t rows = type_a.dim(attributes.transpose_a ? -1 : -2);
  const std::int64_t inner = type_a.dim(attributes.transpose_a ? -2 : -1);
  const std::int64_t columns = type_b.dim(attributes.transpose_b ? -2 : -1);
  const Doubles values_a = call.operand(0), values_b = call.operand(1);
  const Matrices a{values_a, type_a.dim(-1), rows * inner, attributes.transpose_a};
  const Matrices b{values_b, type_b.dim(-1), type_b.rank() == 2 ? 0 : inner * columns,
                   attributes.transpose_b};
  const Doubles bias = call.has(2) ? call.operand(2) : Doubles(static_cast<std::size_t>(columns));
  const Doubles x = call.has(4) ? call.operand(4) : Doubles();
  Doubles y = call.operand_or_zeros(3, 0);
  for (std::size_t e = 0; e < y.size(); ++e) {
    const auto element = static_cast<std::int64_t>(e);
    const std::int64_t j = element % columns;
    const std::int64_t i = element / columns % rows;
    const std::int64_t matrix = element / (columns * rows);
    double sum = bias[static_cast<std::size_t>(j)];
    for (std::int64_t k = 0; k < inner; ++k) sum += a.at(matrix, i, k) * b.at(matrix, k, j);
    y[e] += epilogue(attributes, sum, x, e);
  }
  call.set_result(0, y);
  if (!attributes.row_sums) return;
  Doubles sums(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t k = 0; k < inner; ++k) sums[static_cast<std::size_t>(i)] += a.at(0, i, k);
  }
  call.set_result(1, sums);
}

/// y = into with the columns from `begin` on replaced by activation(a bᵀ + bias) + addend.
void run_columns(const Call& call, std::int64_t begin, ScalarFunction activation) {
  const Doubles a = call.operand(0), b = call.operand(1);
  const std::int64_t inner = call.type(1).dim(1), columns = call.type(1).dim(0);
  const std::int64_t width = call.result_type(0).dim(-1);
  const Doubles bias = call.has(2) ? call.operand(2) : Doubles(static_cast<std::size_t>(width));
  const Doubles addend = call.operand_or_zeros(3, 0);
  Doubles y = call.operand(4);
  for (std::int64_t i = 0; i < call.result_type(0).elements() / width; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double sum = bias[static_cast<std::size_t>(begin + j)];
      for (std::int64_t k = 0; k < inner; ++k) {
        sum +=
            a[static_cast<std::size_t>(i * inner + k)] * b[static_cast<std::size_t>(j * inner + k)];
      }
      const auto at = static_cast<std::size_t>(i * width + begin + j);
      y[at] = activation(sum) + addend[at];
    }
  }
  call.set_result(0, y);
}

/// y = addend + a' b, where a' is columns of a from `begin` on, or those transposed.
void run_sum(const Call& call, std::int64_t begin, bool transposed) {
  const Doubles a = call.operand(0), b = call.operand(1);
  const std::int64_t width = call.type(0).dim(-1);
  const std::int64_t inner = call.type(1).dim(0), columns = call.type(1).dim(1);
  Doubles y = call.operand_or_zeros(3, 0);
  for (std::int64_t e = 0; e < call.result_type(0).elements(); ++e) {
    const std::int64_t i = e / columns, j = e % columns;
    for (std::int64_t k = 0; k < inner; ++k) {
      const std::int64_t from = transposed ? k * width + begin + i : i * width + begin + k;
      y[static_cast<std::size_t>(e)] +=
          a[static_cast<std::size_t>(from)] * b[static_cast<std::size_t>(k * columns + j)];
    }
  }
  call.set_result(0, y);
}

}  // namespace

Prepared matmul_tile(const KernelRequest& request) {
  const std::string part = request.attributes.text("part");
  const std::int64_t begin = request.attributes.integer("begin", 0);
  const ScalarFunction activation = activation_named(request.attributes.text("activation", "none"));
  return make_reference(request, [part, begin, activation](const Call& call) {
    if (part == "columns") return run_columns(call, begin, activation);
    run_sum(call, begin, part == "rows");
  });
}

Prepared matmul(const KernelRequest& request) {
  const MatmulAttributes attributes{request.attributes.boolean("transpose_a", false),
                                    request.attributes.boolean("transpose_b", false),
                                    request.attributes.boolean("row_sums", false),
                                    request.attributes.text("activation", "none")};
  return make_reference(request, [attributes](const Call& call) { run_matmul(call, attributes); });
}

}  // namespace bessemer::kernels::reference

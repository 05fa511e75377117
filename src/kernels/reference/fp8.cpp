#include "kernels/fp8.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rounding.h"
#include "kernels/reference/access.h"
#include "kernels/reference/program.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

Doubles transposed(const Doubles& x, MatrixSize size) {
  Doubles y(x.size());
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t j = 0; j < size.columns; ++j) {
      y[static_cast<std::size_t>(j * size.rows + i)] =
          x[static_cast<std::size_t>(i * size.columns + j)];
    }
  }
  return y;
}

struct Quantized {
  Doubles q, scale;
};

// Of a matrix; `amax` counts where one scale serves the whole.
Quantized quantize(const Doubles& x, MatrixSize size, Fp8Block block, DType format, double amax) {
  const auto scales =
      static_cast<std::size_t>(TensorType{DType::fp32, fp8_scale_shape(block, size)}.elements());
  Doubles largest(scales, 0.0);
  const auto scale_of = [&](std::size_t element) {
    const auto e = static_cast<std::int64_t>(element);
    return static_cast<std::size_t>(
        fp8_scale_index(block, size, e / size.columns, e % size.columns));
  };
  for (std::size_t e = 0; e < x.size(); ++e) {
    double& of_block = largest[scale_of(e)];
    if (!(std::abs(x[e]) <= of_block) && !std::isnan(of_block)) of_block = std::abs(x[e]);
  }
  if (block == Fp8Block::tensor) largest[0] = amax;
  Quantized result{Doubles(x.size()), Doubles(scales)};
  const auto scaling = [&](std::size_t i) {
    return fp8_scale(static_cast<float>(largest[i]), largest_fp8(format));
  };
  for (std::size_t i = 0; i < scales; ++i) result.scale[i] = scaling(i).scale;
  for (std::size_t e = 0; e < x.size(); ++e) {
    result.q[e] = static_cast<float>(x[e]) * scaling(scale_of(e)).inverse;
  }
  return result;
}

Doubles dequantized(const Doubles& q, const Doubles& scale, MatrixSize size, Fp8Block block) {
  Doubles x(q.size());
  for (std::size_t e = 0; e < q.size(); ++e) {
    const auto i = static_cast<std::int64_t>(e);
    const auto at = fp8_scale_index(block, size, i / size.columns, i % size.columns);
    x[e] = q[e] * scale[static_cast<std::size_t>(at)];
  }
  return x;
}

/// Operands of a program, each as large as the first: repeated where it is the end of it, or has
/// one number a row.
std::vector<Doubles> whole_operands(const Call& call, std::size_t inputs) {
  std::vector<Doubles> operands;
  const auto columns = static_cast<std::size_t>(call.type(0).shape.back());
  for (std::size_t i = 0; i < inputs; ++i) {
    const Doubles of = call.operand(i);
    const TensorType& type = call.type(i);
    const bool column = type.rank() == call.type(0).rank() && type.shape.back() == 1;
    Doubles whole(static_cast<std::size_t>(call.type(0).elements()));
    for (std::size_t e = 0; e < whole.size(); ++e) {
      whole[e] = column ? of[e / columns] : of[e % of.size()];
    }
    operands.push_back(std::move(whole));
  }
  return operands;
}

Doubles sum_of_rows(const Doubles& x, MatrixSize size) {
  Doubles sums(static_cast<std::size_t>(size.columns), 0.0);
  for (std::size_t e = 0; e < x.size(); ++e) sums[e % sums.size()] += x[e];
  return sums;
}

Doubles maxima_of_tiles(const Doubles& x, MatrixSize size) {
  Doubles maxima(static_cast<std::size_t>(fp8_tiles(size)), 0.0);
  const std::int64_t across = divide_up(size.columns, kFp8Block);
  for (std::size_t e = 0; e < x.size(); ++e) {
    const auto i = static_cast<std::int64_t>(e);
    const std::int64_t tile = i / size.columns / kFp8Block * across + i % size.columns / kFp8Block;
    double& of_tile = maxima[static_cast<std::size_t>(tile)];
    of_tile = largest_magnitude({of_tile, x[e]});
  }
  return maxima;
}

/// All results that belong to a value.
void set_results(const Call& call, const QuantizeFp8Use& use, std::size_t value, const Doubles& x) {
  const MatrixSize size = matrix_size(call.type(0));
  const DType format = call.result_type(use.q(value)).dtype;
  double amax = use.assumed;
  if (use.block == Fp8Block::tensor) {
    const Doubles given = call.operand(call.operands() - 1);
    const double of_value = given[static_cast<std::size_t>(use.indices[value])];
    if (of_value != 0) amax = of_value;
  }
  const Quantized straight = quantize(x, size, use.block, format, amax);
  if (use.keep) call.set_result(use.y(value), x);
  call.set_result(use.q(value), straight.q);
  call.set_result(use.scale(value), straight.scale);
  if (use.transposed) {
    const Quantized turned =
        quantize(transposed(x, size), {size.columns, size.rows}, use.block, format, amax);
    call.set_result(use.q_t(value), turned.q);
    if (use.has_scale_t()) call.set_result(use.scale_t(value), turned.scale);
  }
  if (use.sum) call.set_result(use.sum_of(value), sum_of_rows(x, size));
  if (use.measure) call.set_result(use.amax(value), maxima_of_tiles(x, size));
}

void run_product(const Call& call, Fp8Block block_a, Fp8Block block_b) {
  const MatrixSize size_a = matrix_size(call.type(0)), size_b = matrix_size(call.type(2));
  const Doubles a = dequantized(call.operand(0), call.operand(1), size_a, block_a);
  const Doubles b = dequantized(call.operand(2), call.operand(3), size_b, block_b);
  const std::int64_t columns = size_b.rows, inner = size_a.columns;
  const Doubles bias = call.has(4) ? call.operand(4) : Doubles(static_cast<std::size_t>(columns));
  Doubles y = call.operand_or_zeros(5, 0);
  for (std::size_t e = 0; e < y.size(); ++e) {
    const auto i = static_cast<std::int64_t>(e) / columns;
    const auto j = static_cast<std::int64_t>(e) % columns;
    const double* row = a.data() + i * inner;
    const double* column = b.data() + j * inner;
    double sum = bias[static_cast<std::size_t>(j)];
    for (std::int64_t k = 0; k < inner; ++k) sum += row[k] * column[k];
    y[e] += sum;
  }
  call.set_result(0, y);
}

}  // namespace

Prepared amax(const KernelRequest& request) {
  if (request.attributes.find("program") == nullptr) {
    return make_reference(request, [](const Call& call) {
      call.set_result(0, {largest_magnitude(call.operand(0))});
    });
  }
  const std::size_t inputs = request.operands.size();
  const ElementwiseProgram program =
      parse_elementwise_program(request.attributes.text("program"), static_cast<int>(inputs));
  return make_reference(request, [=](const Call& call) {
    const std::vector<Doubles> values = run_program(program, whole_operands(call, inputs));
    for (std::size_t v = 0; v < values.size(); ++v) {
      const Doubles y = rounded(values[v], call.type(0).dtype);
      call.set_result(v, y);
      call.set_result(values.size() + v, {largest_magnitude(y)});
    }
  });
}

Prepared collect_amax(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    Doubles largest = call.operand_or_zeros(0, 0);
    for (std::size_t i = 0; i < largest.size(); ++i) {
      if (!call.has(i + 1)) continue;
      Doubles all = call.operand(i + 1);
      all.push_back(largest[i]);
      largest[i] = largest_magnitude(all);
    }
    call.set_result(0, largest);
  });
}

Prepared amax_history(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    Doubles history = call.operand(0);
    const Doubles collected = call.operand(1);
    const std::size_t tensors = collected.size();
    if (!std::isnan(call.scalar(2))) {
      std::copy_backward(history.begin(), history.end() - static_cast<std::ptrdiff_t>(tensors),
                         history.end());
      std::copy(collected.begin(), collected.end(), history.begin());
    }
    Doubles largest(tensors, 0.0);
    for (std::size_t i = 0; i < history.size(); ++i) {
      largest[i % tensors] = largest_magnitude({largest[i % tensors], history[i]});
    }
    call.set_result(0, history);
    call.set_result(1, largest);
  });
}

Prepared quantize_fp8(const KernelRequest& request) {
  const QuantizeFp8Use use(request.attributes);
  const std::size_t inputs = use.inputs(request.operands.size());
  ElementwiseProgram program{{}, {ElementwiseOperand::input(0)}};
  if (!use.program.empty()) {
    program = parse_elementwise_program(use.program, static_cast<int>(inputs));
  }
  return make_reference(request, [=](const Call& call) {
    const std::vector<Doubles> values = run_program(program, whole_operands(call, inputs));
    for (std::size_t v = 0; v < values.size(); ++v) {
      set_results(call, use, v, rounded(values[v], call.type(0).dtype));
    }
  });
}

Prepared scaled_matmul(const KernelRequest& request) {
  const Fp8Block a = fp8_block(request.attributes, "block_a"),
                 b = fp8_block(request.attributes, "block_b");
  return make_reference(request, [a, b](const Call& call) { run_product(call, a, b); });
}

}  // namespace bessemer::kernels::reference

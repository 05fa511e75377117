// Ops that move elements without looking at them, of any dtype: rows of bytes or strided gathers
// (strided_copy.h).
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/element_bytes.h"

namespace bessemer::kernels::cpu {
namespace {

/// A shape seen from dimension `dim`: `outer` slabs, each of `size` entries of `entry` bytes.
struct Slabs {
  std::int64_t outer = 1;
  std::int64_t size = 1;
  std::int64_t entry;

  Slabs(const TensorType& type, std::size_t dim)
      : size(type.shape[dim]), entry(static_cast<std::int64_t>(size_of(type.dtype))) {
    for (std::size_t d = 0; d < dim; ++d) outer *= type.shape[d];
    for (std::size_t d = dim + 1; d < type.shape.size(); ++d) entry *= type.shape[d];
  }
  std::int64_t bytes() const { return size * entry; }
};

std::size_t dimension_attribute(const KernelRequest& request) {
  return dimension(request.attributes.integer("dim"), request.results[0].rank());
}

std::vector<std::int64_t> dense_strides(const Shape& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= shape[d];
  }
  return strides;
}

Prepared gather(const KernelRequest& request, const std::vector<std::int64_t>& strides) {
  const TensorType& result = request.results[0];
  const StridedGather copy(result.shape, strides, size_of(result.dtype));
  return make_kernel([copy](const KernelBuffers& buffers) {
    copy.run(buffers.operand<std::byte>(0), buffers.result<std::byte>(0));
  });
}

}  // namespace

Prepared reshape(const KernelRequest& request) {
  const auto bytes = static_cast<std::int64_t>(request.results[0].bytes());
  return make_kernel([bytes](const KernelBuffers& buffers) {
    const auto* from = buffers.operand<std::byte>(0);
    auto* to = buffers.result<std::byte>(0);
    if (from != to) copy_rows(from, bytes, to, bytes, 1, bytes);
  });
}

Prepared transpose(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const std::vector<std::int64_t> from = dense_strides(x.shape);
  std::vector<std::int64_t> strides;
  for (const std::int64_t d : request.attributes.integers("permutation")) {
    strides.push_back(from[dimension(d, x.rank())]);
  }
  require(strides.size() == x.shape.size(), "transpose: permutation of {} dimensions for {}",
          strides.size(), to_string(x));
  return gather(request, strides);
}

Prepared broadcast(const KernelRequest& request) {
  const std::vector<std::int64_t> from = dense_strides(request.operand(0).shape);
  const std::int64_t rank = request.results[0].rank();
  std::vector<bool> is_new(static_cast<std::size_t>(rank));
  for (const std::int64_t d : request.attributes.integers("dims"))
    is_new[dimension(d, rank)] = true;
  std::vector<std::int64_t> strides;
  std::size_t kept = 0;
  for (const bool fresh : is_new) strides.push_back(fresh ? 0 : from[kept++]);
  return gather(request, strides);
}

Prepared slice(const KernelRequest& request) {
  const std::size_t dim = dimension_attribute(request);
  const Slabs from(request.operand(0), dim), to(request.results[0], dim);
  const std::int64_t skipped = request.attributes.integer("begin") * from.entry;
  return make_kernel([=](const KernelBuffers& buffers) {
    copy_rows(buffers.operand<std::byte>(0) + skipped, from.bytes(), buffers.result<std::byte>(0),
              to.bytes(), to.outer, to.bytes());
  });
}

Prepared pad(const KernelRequest& request) {
  const std::size_t dim = dimension_attribute(request);
  const Slabs from(request.operand(0), dim), to(request.results[0], dim);
  const std::int64_t before = request.attributes.integer("before") * from.entry;
  const std::int64_t after = to.bytes() - from.bytes() - before;
  return make_kernel([=](const KernelBuffers& buffers) {
    auto* y = buffers.result<std::byte>(0);
    zero_rows(y, to.bytes(), to.outer, before);
    copy_rows(buffers.operand<std::byte>(0), from.bytes(), y + before, to.bytes(), to.outer,
              from.bytes());
    zero_rows(y + before + from.bytes(), to.bytes(), to.outer, after);
  });
}

Prepared concat(const KernelRequest& request) {
  const std::size_t dim = dimension_attribute(request);
  std::vector<std::int64_t> widths;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    widths.push_back(Slabs(request.operand(i), dim).bytes());
  }
  const Slabs to(request.results[0], dim);
  return make_kernel([widths = std::move(widths), to](const KernelBuffers& buffers) {
    auto* y = buffers.result<std::byte>(0);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      copy_rows(buffers.operand<std::byte>(i), widths[i], y, to.bytes(), to.outer, widths[i]);
      y += widths[i];
    }
  });
}

Prepared fill(const KernelRequest& request) {
  const TensorType& type = request.results[0];
  const auto element = element_bytes(type.dtype, request.attributes.real("value"));
  const StridedGather copy({type.elements()}, {0}, size_of(type.dtype));
  return make_kernel([copy, element](const KernelBuffers& buffers) {
    copy.run(element.data(), buffers.result<std::byte>(0));
  });
}

Prepared cache_write(const KernelRequest& request) {
  const TensorType& cache = request.operand(0);
  const TensorType& update = request.operand(1);
  const std::int64_t batch = update.shape[0], tokens = update.shape[1], slots = cache.shape[1];
  const auto row =
      static_cast<std::int64_t>(size_of(cache.dtype)) * cache.shape[2] * cache.shape[3];
  const auto bytes = static_cast<std::int64_t>(cache.bytes());
  return make_kernel([=](const KernelBuffers& buffers) {
    const auto* from = buffers.operand<std::byte>(0);
    const auto* rows = buffers.operand<std::byte>(1);
    const auto* positions = buffers.operand<std::int32_t>(2);
    auto* to = buffers.result<std::byte>(0);
    if (from != to) copy_rows(from, bytes, to, bytes, 1, bytes);
    // By sequence, so that of two rows for one position the later stays, whatever the threads.
    parallel_for(batch, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * tokens; i < end * tokens; ++i) {
        const std::int64_t slot = positions[i];
        if (slot < 0 || slot >= slots) continue;
        std::memcpy(to + (i / tokens * slots + slot) * row, rows + i * row,
                    static_cast<std::size_t>(row));
      }
    });
  });
}

}  // namespace bessemer::kernels::cpu

// Ops that move elements without looking at them, of any dtype: every one is a copy along strides
// (strided_copy.h) or a plain one (device.h), so that each byte is read once and written once.
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/strided_copy.h"

namespace bessemer::kernels::cuda {
namespace {

std::size_t dimension(std::int64_t d, std::int64_t rank) {
  require(-rank <= d && d < rank, "dimension {} of a tensor of rank {}", d, rank);
  return static_cast<std::size_t>(d < 0 ? d + rank : d);
}

std::int64_t element_of(const TensorType& type) {
  return static_cast<std::int64_t>(size_of(type.dtype));
}

/// Strides of a dense tensor, in bytes.
std::vector<std::int64_t> dense_strides(const TensorType& type) {
  std::vector<std::int64_t> strides(type.shape.size());
  std::int64_t stride = element_of(type);
  for (std::size_t d = type.shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= type.shape[d];
  }
  return strides;
}

/// The result's element at an index is the operand's at these strides.
Prepared gather(const KernelRequest& request, const std::vector<std::int64_t>& strides) {
  const TensorType& result = request.results[0];
  if (result.rank() > kMostDimensions) {
    return Declined{
        fmt::format("{} dimensions; this kernel does up to {}", result.rank(), kMostDimensions)};
  }
  const std::vector<std::int64_t> to = dense_strides(result);
  StridedProblem problem{{}, element_of(result)};
  for (std::size_t d = 0; d < to.size(); ++d) {
    problem.dimensions.push_back({result.shape[d], strides[d], to[d]});
  }
  return make_kernel([copy = strided_copy(problem)](const KernelBuffers& buffers) {
    copy(buffers.operands[0], buffers.results[0], buffers.stream);
  });
}

/// A shape seen from the attribute `dim`: `outer` slabs, each of `size` entries of `entry` bytes.
struct Slabs {
  std::int64_t outer = 1;
  std::int64_t size;
  std::int64_t entry;

  Slabs(const KernelRequest& request, const TensorType& type) : entry(element_of(type)) {
    const std::size_t dim = dimension(request.attributes.integer("dim"), type.rank());
    size = type.shape[dim];
    for (std::size_t d = 0; d < dim; ++d) outer *= type.shape[d];
    for (std::size_t d = dim + 1; d < type.shape.size(); ++d) entry *= type.shape[d];
  }
  std::int64_t bytes() const { return size * entry; }
};

/// `outer` rows of `bytes` bytes, so far apart on either side.
StridedProblem rows(const TensorType& type, std::int64_t outer, std::int64_t bytes,
                    std::int64_t from_stride, std::int64_t to_stride) {
  const std::int64_t element = element_of(type);
  return {{{outer, from_stride, to_stride}, {bytes / element, element, element}}, element};
}

}  // namespace

Prepared reshape(const KernelRequest& request) {
  return make_kernel([bytes = request.results[0].bytes()](const KernelBuffers& buffers) {
    if (buffers.operands[0] == buffers.results[0]) return;
    copy(buffers.results[0], buffers.operands[0], bytes, buffers.stream);
  });
}

Prepared transpose(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const std::vector<std::int64_t> from = dense_strides(x);
  std::vector<std::int64_t> strides;
  for (const std::int64_t d : request.attributes.integers("permutation")) {
    strides.push_back(from[dimension(d, x.rank())]);
  }
  require(strides.size() == x.shape.size(), "transpose: permutation of {} dimensions for {}",
          strides.size(), to_string(x));
  return gather(request, strides);
}

Prepared broadcast(const KernelRequest& request) {
  const std::int64_t rank = request.results[0].rank();
  std::vector<bool> is_new(static_cast<std::size_t>(rank));
  for (const std::int64_t d : request.attributes.integers("dims")) {
    is_new[dimension(d, rank)] = true;
  }
  const std::vector<std::int64_t> from = dense_strides(request.operand(0));
  std::vector<std::int64_t> strides;
  std::size_t kept = 0;
  for (const bool fresh : is_new) strides.push_back(fresh ? 0 : from[kept++]);
  return gather(request, strides);
}

Prepared slice(const KernelRequest& request) {
  const Slabs from(request, request.operand(0)), to(request, request.results[0]);
  StridedProblem problem = rows(request.results[0], to.outer, to.bytes(), from.bytes(), to.bytes());
  problem.from_begin = request.attributes.integer("begin") * from.entry;
  return make_kernel([copy = strided_copy(problem)](const KernelBuffers& buffers) {
    copy(buffers.operands[0], buffers.results[0], buffers.stream);
  });
}

Prepared pad(const KernelRequest& request) {
  const TensorType& result = request.results[0];
  const Slabs from(request, request.operand(0)), to(request, result);
  const std::int64_t before = request.attributes.integer("before") * from.entry;
  const std::int64_t after = to.bytes() - from.bytes() - before;
  StridedProblem head = rows(result, to.outer, before, before, to.bytes());
  StridedProblem body = rows(result, to.outer, from.bytes(), from.bytes(), to.bytes());
  StridedProblem tail = rows(result, to.outer, after, after, to.bytes());
  body.to_begin = before;
  tail.to_begin = before + from.bytes();
  return make_kernel([head = strided_fill(head, {}), body = strided_copy(body),
                      tail = strided_fill(tail, {})](const KernelBuffers& buffers) {
    head(nullptr, buffers.results[0], buffers.stream);
    body(buffers.operands[0], buffers.results[0], buffers.stream);
    tail(nullptr, buffers.results[0], buffers.stream);
  });
}

Prepared concat(const KernelRequest& request) {
  const Slabs to(request, request.results[0]);
  std::vector<Movement> parts;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    const Slabs from(request, request.operand(i));
    StridedProblem problem =
        rows(request.results[0], to.outer, from.bytes(), from.bytes(), to.bytes());
    problem.to_begin = begin;
    begin += from.bytes();
    parts.push_back(strided_copy(problem));
  }
  return make_kernel([parts = std::move(parts)](const KernelBuffers& buffers) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i](buffers.operands[i], buffers.results[0], buffers.stream);
    }
  });
}

Prepared fill(const KernelRequest& request) {
  const TensorType& type = request.results[0];
  const auto element = element_bytes(type.dtype, request.attributes.real("value"));
  const auto bytes = static_cast<std::int64_t>(type.bytes());
  return make_kernel(
      [fill = strided_fill(rows(type, 1, bytes, bytes, bytes), element)](
          const KernelBuffers& buffers) { fill(nullptr, buffers.results[0], buffers.stream); });
}

Prepared fetch(const KernelRequest& request) {
  const TensorType& y = request.results[0];
  const std::int64_t skipped = request.attributes.integer("begin", 0) * element_of(y);
  return make_kernel([skipped, bytes = y.bytes()](const KernelBuffers& buffers) {
    copy(buffers.results[0], buffers.operand<std::byte>(0) + skipped, bytes, buffers.stream);
  });
}

Prepared store(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const std::int64_t skipped = request.attributes.integer("begin", 0) * element_of(x);
  const std::size_t whole = request.results[0].bytes();
  return make_kernel([skipped, whole, bytes = x.bytes()](const KernelBuffers& buffers) {
    auto* to = buffers.result<std::byte>(0);
    const auto* into = buffers.operand<std::byte>(1);
    if (into != nullptr && into != to) copy(to, into, whole, buffers.stream);
    copy(to + skipped, buffers.operands[0], bytes, buffers.stream);
  });
}

}  // namespace bessemer::kernels::cuda

// Ops that move elements without looking at them: they copy bytes, so any dtype passes unchanged.
#include <algorithm>
#include <cstring>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

using Bytes = std::vector<std::byte>;
using Index = std::vector<std::int64_t>;  // one coordinate a dimension

Bytes bytes_of(const TensorType& type, const void* buffer) {
  const auto* begin = static_cast<const std::byte*>(buffer);
  return Bytes(begin, begin + type.bytes());
}

Index index_of(std::int64_t element, const Shape& shape) {
  Index index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0;) {
    index[d] = element % shape[d];
    element /= shape[d];
  }
  return index;
}

std::int64_t element_of(const Index& index, const Shape& shape) {
  std::int64_t element = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) element = element * shape[d] + index[d];
  return element;
}

/// y[i] = x[source(i)] for every multi-index i of the result; zero where source gives an index
/// outside x.
template <typename Source>
Prepared gather(const KernelRequest& request, Source source) {
  return make_reference(request, [source](const Call& call) {
    const TensorType& from = call.type(0);
    const TensorType& to = call.result_type(0);
    const Bytes x = bytes_of(from, call.buffers().operands[0]);
    const std::size_t width = size_of(from.dtype);
    auto* y = call.buffers().result<std::byte>(0);
    for (std::int64_t e = 0; e < to.elements(); ++e) {
      const Index index = source(index_of(e, to.shape));
      std::byte* out = y + static_cast<std::size_t>(e) * width;
      const bool inside =
          std::equal(index.begin(), index.end(), from.shape.begin(),
                     [](std::int64_t i, std::int64_t n) { return 0 <= i && i < n; });
      if (inside) {
        const auto at = static_cast<std::size_t>(element_of(index, from.shape));
        std::memcpy(out, x.data() + at * width, width);
      } else {
        std::memset(out, 0, width);
      }
    }
  });
}

/// x's element i lies at i + shift of the result, along one dimension.
Prepared shifted(const KernelRequest& request, std::int64_t shift) {
  const std::size_t dim = dimension(request.attributes.integer("dim"), request.operand(0).rank());
  return gather(request, [dim, shift](Index index) {
    index[dim] -= shift;
    return index;
  });
}

}  // namespace

Prepared reshape(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    std::memmove(call.buffers().results[0], call.buffers().operands[0], call.type(0).bytes());
  });
}

Prepared transpose(const KernelRequest& request) {
  std::vector<std::int64_t> permutation = request.attributes.integers("permutation");
  const std::int64_t rank = request.operand(0).rank();
  require(static_cast<std::int64_t>(permutation.size()) == rank,
          "transpose: permutation of {} dimensions for {}", permutation.size(),
          to_string(request.operand(0)));
  for (std::int64_t& d : permutation) d = static_cast<std::int64_t>(dimension(d, rank));
  return gather(request, [permutation](const Index& index) {
    Index source(index.size());
    for (std::size_t d = 0; d < index.size(); ++d) {
      source[static_cast<std::size_t>(permutation[d])] = index[d];
    }
    return source;
  });
}

Prepared slice(const KernelRequest& request) {
  return shifted(request, -request.attributes.integer("begin"));
}

Prepared pad(const KernelRequest& request) {
  return shifted(request, request.attributes.integer("before"));
}

Prepared concat(const KernelRequest& request) {
  const std::size_t dim = dimension(request.attributes.integer("dim"), request.results[0].rank());
  return make_reference(request, [dim](const Call& call) {
    const Shape& shape = call.result_type(0).shape;
    const std::int64_t outer =
        elements_of(Shape(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(dim)));
    std::vector<Bytes> parts;
    for (std::size_t i = 0; i < call.operands(); ++i) {
      parts.push_back(bytes_of(call.type(i), call.buffers().operands[i]));
    }
    auto* y = call.buffers().result<std::byte>(0);
    for (std::int64_t o = 0; o < outer; ++o) {
      for (const Bytes& part : parts) {
        const auto run = static_cast<std::ptrdiff_t>(part.size()) / outer;
        y = std::copy_n(part.begin() + o * run, run, y);
      }
    }
  });
}

Prepared broadcast(const KernelRequest& request) {
  const std::int64_t rank = request.results[0].rank();
  std::vector<bool> is_new(static_cast<std::size_t>(rank));
  for (const std::int64_t d : request.attributes.integers("dims"))
    is_new[dimension(d, rank)] = true;
  return gather(request, [is_new](const Index& index) {
    Index source;
    for (std::size_t d = 0; d < index.size(); ++d) {
      if (!is_new[d]) source.push_back(index[d]);
    }
    return source;
  });
}

Prepared fill(const KernelRequest& request) {
  const double value = request.attributes.real("value");
  return make_reference(request, [value](const Call& call) {
    call.set_result(0, Doubles(static_cast<std::size_t>(call.result_type(0).elements()), value));
  });
}

Prepared cache_write(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const std::int64_t batch = call.type(1).shape[0], tokens = call.type(1).shape[1];
    const std::int64_t slots = call.type(0).shape[1];
    const Bytes update = bytes_of(call.type(1), call.buffers().operands[1]);
    const Doubles positions = call.operand(2);
    auto* cache = call.buffers().result<std::byte>(0);
    std::memmove(cache, call.buffers().operands[0], call.type(0).bytes());
    const auto row = static_cast<std::ptrdiff_t>(update.size()) / (batch * tokens);
    for (std::int64_t i = 0; i < batch * tokens; ++i) {
      const auto position = static_cast<std::int64_t>(positions[static_cast<std::size_t>(i)]);
      if (position < 0 || position >= slots) continue;
      std::copy_n(update.begin() + i * row, row, cache + (i / tokens * slots + position) * row);
    }
  });
}

}  // namespace bessemer::kernels::reference

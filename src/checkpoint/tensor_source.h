// Named tensors as they cross the border to files: what a reader offers and a writer takes.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor_type.h"

namespace bessemer::checkpoint {

/// A tensor's type and its dense, row-major, little-endian bytes, which somebody else owns. Bytes
/// that lie in a mapped file may have any alignment: copy them before reading them as numbers.
struct TensorView {
  TensorType type;
  std::span<const std::byte> bytes;
};

/// A tensor that is to be written or is expected to be read.
struct TensorSpec {
  std::string name;
  TensorType type;
};

struct NamedTensor {
  std::string name;
  TensorView view;
};

/// Gives the bytes of the tensor with this index in a list of specs. A writer calls it once for
/// each tensor, in an order of its own; the bytes need to live only until the next call, so that
/// one buffer can serve for tensors that are transposed or converted on their way out.
using BytesOf = std::function<std::span<const std::byte>(std::size_t index)>;

/// A read-only set of named tensors. Views stay valid as long as the source. Thread-safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual std::optional<TensorView> find(std::string_view name) const = 0;

  /// All names, sorted.
  virtual std::vector<std::string> names() const = 0;

  /// The file or directory, for messages.
  virtual std::string place() const = 0;
};

/// The tensor of that name; InputError names the place and the tensor where it is absent.
TensorView get(const TensorSource& source, std::string_view name);

/// Compares the source with what a model needs: every expected tensor there with its dtype and
/// shape, and nothing else. InputError lists the first few differences.
void expect_tensors(const TensorSource& source, std::span<const TensorSpec> expected);

}  // namespace bessemer::checkpoint

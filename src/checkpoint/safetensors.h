// The safetensors format (https://github.com/huggingface/safetensors): eight bytes of header
// length, a JSON header {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__":
// {...}}, then the tensors' bytes, little-endian, one after the other without gaps.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_source.h"

namespace bessemer::checkpoint {

using Metadata = std::map<std::string, std::string>;

/// The largest header that is read or written, bytes; the format's own limit.
inline constexpr std::size_t kMostHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  std::string name;
  TensorType type;
  std::size_t begin = 0;  // byte offset in the file
};

struct SafetensorsIndex {
  std::vector<SafetensorsEntry> entries;  // sorted by name
  Metadata metadata;
};

/// Parses the header of a whole file's bytes. On success every entry lies inside `file`, entries do
/// not overlap and leave no byte of the data unowned, and no product of a shape overflows. Every
/// failure is an InputError that names `path`, the tensor, what was found and what was expected.
SafetensorsIndex parse_safetensors(std::span<const std::byte> file, std::string_view path);

/// A memory-mapped file.
class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  std::optional<TensorView> find(std::string_view name) const override;
  std::vector<std::string> names() const override;
  std::string place() const override { return file_.path().string(); }

  const Metadata& metadata() const { return index_.metadata; }

 private:
  MappedFile file_;
  SafetensorsIndex index_;
};

using ByteSink = std::function<void(std::span<const std::byte>)>;

/// Writes header and tensors to `sink`, one tensor at a time. The data starts at a multiple of 64
/// bytes, wider elements come first, then by name, so every tensor is aligned to its element.
/// Error where a name stands twice or bytes do not fit their type; what `sink` throws passes on.
void write_safetensors(const ByteSink& sink, std::span<const TensorSpec> specs,
                       const BytesOf& bytes_of, const Metadata& metadata = {});

/// The same into a new file, flushed to the disk. Not atomic: the caller writes in a directory that
/// is not yet visible.
void write_safetensors_file(const std::filesystem::path& path, std::span<const TensorSpec> specs,
                            const BytesOf& bytes_of, const Metadata& metadata = {});

/// The specs of `tensors`, in their order.
std::vector<TensorSpec> specs_of(std::span<const NamedTensor> tensors);

}  // namespace bessemer::checkpoint

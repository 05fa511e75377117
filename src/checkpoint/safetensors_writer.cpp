#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include <nlohmann/json.hpp>

#include "base/arena.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_dtype.h"

namespace bessemer::checkpoint {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kDataAlignment = 64;

std::vector<std::size_t> file_order(std::span<const TensorSpec> specs) {
  std::vector<std::size_t> order(specs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::size_t width_a = size_of(specs[a].type.dtype);
    const std::size_t width_b = size_of(specs[b].type.dtype);
    return width_a != width_b ? width_a > width_b : specs[a].name < specs[b].name;
  });
  return order;
}

std::string header_of(std::span<const TensorSpec> specs, const std::vector<std::size_t>& order,
                      const Metadata& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::size_t offset = 0;
  for (const std::size_t i : order) {
    const TensorSpec& spec = specs[i];
    const std::size_t end = offset + spec.type.bytes();
    const nlohmann::json entry = {{"dtype", safetensors_name_of(spec.type.dtype)},
                                  {"shape", spec.type.shape},
                                  {"data_offsets", {offset, end}}};
    if (text.size() > 1) text += ',';
    text += nlohmann::json(spec.name).dump() + ":" + entry.dump();
    offset = end;
  }
  text += '}';
  text.resize(align_up(kLengthBytes + text.size(), kDataAlignment) - kLengthBytes, ' ');
  require(text.size() <= kMostHeaderBytes, "safetensors header of {} bytes; the most is {}",
          text.size(), kMostHeaderBytes);
  return text;
}

void check_names(std::span<const TensorSpec> specs) {
  std::vector<std::string_view> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  require(twice == names.end(), "two tensors of one safetensors file are named \"{}\"",
          twice == names.end() ? "" : *twice);
  require(!std::binary_search(names.begin(), names.end(), "__metadata__"),
          "a tensor cannot be named __metadata__");
}

}  // namespace

void write_safetensors(const ByteSink& sink, std::span<const TensorSpec> specs,
                       const BytesOf& bytes_of, const Metadata& metadata) {
  check_names(specs);
  const std::vector<std::size_t> order = file_order(specs);
  const std::string header = header_of(specs, order, metadata);
  std::array<std::byte, kLengthBytes> length;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<std::byte>(std::uint64_t{header.size()} >> (8 * i));
  }
  sink(length);
  sink(std::as_bytes(std::span(header)));
  for (const std::size_t i : order) {
    const auto bytes = bytes_of(i);
    require(bytes.size() == specs[i].type.bytes(), "tensor {} is {}, but {} bytes were given",
            specs[i].name, to_string(specs[i].type), bytes.size());
    sink(bytes);
  }
}

void write_safetensors_file(const std::filesystem::path& path, std::span<const TensorSpec> specs,
                            const BytesOf& bytes_of, const Metadata& metadata) {
  FileWriter file(path);
  write_safetensors([&](std::span<const std::byte> bytes) { file.write(bytes); }, specs, bytes_of,
                    metadata);
  file.close();
}

std::vector<TensorSpec> specs_of(std::span<const NamedTensor> tensors) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back({tensor.name, tensor.view.type});
  return specs;
}

}  // namespace bessemer::checkpoint

// The tensors of a Hugging Face model directory: model.safetensors, or shards with
// model.safetensors.index.json, under the names that the family gives them. Architecture and
// naming are the business of models/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/tensor_source.h"

namespace bessemer::checkpoint {

/// Opens the tensors of a directory, memory-mapped. InputError where there are none, where the
/// index is broken, names a file outside the directory or one that is missing, or promises a tensor
/// that its shard has not.
std::unique_ptr<TensorSource> open_hugging_face(const std::filesystem::path& directory);

struct HuggingFaceOptions {
  /// Tensors go to shards of at most this many bytes of data, in the order given; a larger tensor
  /// gets a shard of its own. One shard alone is called model.safetensors.
  std::uint64_t most_shard_bytes = 5'000'000'000;
  /// Further files of the directory by name (config.json, tokenizer.json), with their text.
  std::vector<std::pair<std::string, std::string>> files;
};

/// Writes a new directory, whole or not at all. InputError where it is there already and not empty.
void write_hugging_face(const std::filesystem::path& directory, std::span<const TensorSpec> specs,
                        const BytesOf& bytes_of, const HuggingFaceOptions& options = {});

}  // namespace bessemer::checkpoint

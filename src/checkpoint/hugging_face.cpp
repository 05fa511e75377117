#include "checkpoint/hugging_face.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/json_text.h"
#include "checkpoint/manifest.h"
#include "checkpoint/partial_directory.h"
#include "checkpoint/safetensors.h"

namespace bessemer::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr int kMostIndexDepth = 8;

class ShardedSource : public TensorSource {
 public:
  explicit ShardedSource(fs::path directory);

  std::optional<TensorView> find(std::string_view name) const override {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end()) return std::nullopt;
    return found->second->find(name);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, shard] : shard_of_) names.push_back(name);
    return names;
  }

  std::string place() const override { return directory_.string(); }

 private:
  const SafetensorsFile& open_shard(const std::string& file, const std::string& tensor,
                                    std::string_view index);

  fs::path directory_;
  std::map<std::string, SafetensorsFile> shards_;
  std::map<std::string, const SafetensorsFile*, std::less<>> shard_of_;
};

ShardedSource::ShardedSource(fs::path directory) : directory_(std::move(directory)) {
  const std::string index = (directory_ / kIndex).string();
  const Json whole = parse_json_object(read_file(index), index, kMostIndexDepth);
  const Json& map = member(whole, "weight_map", index);
  require_input(map.is_object(), "{}: weight_map: expected an object, found {}", index,
                shortened(map));
  for (const auto& item : map.items()) {
    require_input(item.value().is_string(), "{}: weight_map: {}: expected a file name, found {}",
                  index, quote(item.key()), shortened(item.value()));
    const auto file = item.value().get<std::string>();
    const SafetensorsFile& shard = open_shard(file, item.key(), index);
    require_input(shard.find(item.key()).has_value(),
                  "{}: weight_map: promises tensor {} in {}, which has no such tensor", index,
                  quote(item.key()), quote(file));
    shard_of_.emplace(item.key(), &shard);
  }
}

const SafetensorsFile& ShardedSource::open_shard(const std::string& file, const std::string& tensor,
                                                 std::string_view index) {
  require_input(is_plain_file_name(file),
                "{}: weight_map: {} of tensor {} is not the name of a file in this directory",
                index, quote(file), quote(tensor));
  const auto known = shards_.find(file);
  if (known != shards_.end()) return known->second;
  std::error_code code;
  require_input(fs::exists(directory_ / file, code),
                "{}: weight_map: the file {} of tensor {} is missing", index, quote(file),
                quote(tensor));
  return shards_.try_emplace(file, directory_ / file).first->second;
}

/// Indices into the specs, one list for each shard.
std::vector<std::vector<std::size_t>> split(std::span<const TensorSpec> specs,
                                            std::uint64_t most_bytes) {
  std::vector<std::vector<std::size_t>> shards(1);
  std::uint64_t filled = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::uint64_t bytes = specs[i].type.bytes();
    if (!shards.back().empty() && bytes > most_bytes - std::min(filled, most_bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(i);
    filled += bytes;
  }
  return shards;
}

void write_shard(const fs::path& path, const std::vector<std::size_t>& shard,
                 std::span<const TensorSpec> specs, const BytesOf& bytes_of) {
  std::vector<TensorSpec> part;
  for (const std::size_t i : shard) part.push_back(specs[i]);
  // Hugging Face's loaders ask for this key.
  write_safetensors_file(path, part, [&](std::size_t i) { return bytes_of(shard[i]); },
                         {{"format", "pt"}});
}

void write_file(const fs::path& path, std::string_view text) {
  FileWriter file(path);
  file.write(text);
  file.close();
}

void write_tensors(const fs::path& directory, std::span<const TensorSpec> specs,
                   const BytesOf& bytes_of, std::uint64_t most_shard_bytes) {
  const auto shards = split(specs, most_shard_bytes);
  if (shards.size() == 1) return write_shard(directory / kSingle, shards[0], specs, bytes_of);
  Json map = Json::object();
  std::uint64_t total = 0;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const auto file = fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    write_shard(directory / file, shards[s], specs, bytes_of);
    for (const std::size_t i : shards[s]) {
      require(map.emplace(specs[i].name, file).second, "two tensors are named \"{}\"",
              specs[i].name);
      total += specs[i].type.bytes();
    }
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_file(directory / kIndex, index.dump(2) + "\n");
}

}  // namespace

std::unique_ptr<TensorSource> open_hugging_face(const fs::path& directory) {
  std::error_code code;
  require_input(fs::is_directory(directory, code), "{}: no such directory", directory.string());
  if (fs::exists(directory / kSingle, code)) {
    return std::make_unique<SafetensorsFile>(directory / kSingle);
  }
  if (fs::exists(directory / kIndex, code)) return std::make_unique<ShardedSource>(directory);
  const bool is_pickled = fs::exists(directory / "pytorch_model.bin", code) ||
                          fs::exists(directory / "pytorch_model.bin.index.json", code);
  fail_input("{}: has neither {} nor {}{}", directory.string(), kSingle, kIndex,
             is_pickled ? "; its pytorch_model.bin must be converted to safetensors first" : "");
}

void write_hugging_face(const fs::path& directory, std::span<const TensorSpec> specs,
                        const BytesOf& bytes_of, const HuggingFaceOptions& options) {
  require(options.most_shard_bytes > 0, "shards of no bytes");
  PartialDirectory partial(directory, Existing::refuse);
  write_tensors(partial.path(), specs, bytes_of, options.most_shard_bytes);
  for (const auto& [name, text] : options.files) {
    require(is_plain_file_name(name), "\"{}\" is not a file name", name);
    write_file(partial.path() / name, text);
  }
  partial.publish();
}

}  // namespace bessemer::checkpoint

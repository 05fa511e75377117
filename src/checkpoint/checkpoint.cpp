#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/checksum.h"
#include "checkpoint/json_text.h"
#include "checkpoint/manifest.h"
#include "checkpoint/partial_directory.h"

namespace bessemer::checkpoint {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFolder = "checkpoints";
constexpr const char* kTensors = "tensors.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kManifest = "manifest.json";
constexpr std::string_view kPrefix = "step_";
constexpr int kMostStateDepth = 64;
constexpr std::size_t kWriteBytes = std::size_t{1} << 20;  // hashed while still in the cache

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 6) return std::nullopt;
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [stop, code] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (code != std::errc{} || stop != end || step < 0) return std::nullopt;
  return step;
}

/// A file that is hashed as it is written.
class HashedFile {
 public:
  explicit HashedFile(const fs::path& path) : file_(path) {}

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(bytes.size(), kWriteBytes));
      checksum_.update(part);
      file_.write(part);
      bytes = bytes.subspan(part.size());
    }
  }

  ManifestEntry close() {
    file_.close();
    return {file_.written(), checksum_.text()};
  }

 private:
  FileWriter file_;
  Checksum checksum_;
};

ManifestEntry write_tensors(const fs::path& path, std::span<const TensorSpec> tensors,
                            const BytesOf& bytes_of) {
  HashedFile file(path);
  write_safetensors([&](std::span<const std::byte> bytes) { file.write(bytes); }, tensors,
                    bytes_of);
  return file.close();
}

ManifestEntry write_text(const fs::path& path, std::string_view text) {
  HashedFile file(path);
  file.write(std::as_bytes(std::span(text.data(), text.size())));
  return file.close();
}

std::string state_text(std::int64_t step, const Json& state) {
  require(state.is_object(), "the state of a checkpoint must be a JSON object");
  require(!state.contains("step") && !state.contains("format_version"),
          "the state of a checkpoint gets \"step\" and \"format_version\" when it is written");
  Json whole = state;
  whole["format_version"] = kFormatVersion;
  whole["step"] = step;
  std::string text = whole.dump(2) + "\n";
  require(Json::parse(text) == whole, "the state of a checkpoint holds a number JSON cannot hold");
  return text;
}

}  // namespace

std::vector<CheckpointPath> list_checkpoints(const fs::path& run_directory) {
  std::vector<CheckpointPath> found;
  std::error_code code;
  for (const auto& item : fs::directory_iterator(run_directory / kFolder, code)) {
    const auto step = step_of(item.path().filename().string());
    if (step && item.is_directory(code)) found.push_back({*step, item.path()});
  }
  std::sort(found.begin(), found.end(),
            [](const CheckpointPath& a, const CheckpointPath& b) { return a.step < b.step; });
  return found;
}

std::optional<fs::path> find_latest(const fs::path& run_directory) {
  const auto found = list_checkpoints(run_directory);
  if (found.empty()) return std::nullopt;
  return found.back().path;
}

fs::path checkpoint_path(const fs::path& run_directory, std::int64_t step) {
  return run_directory / kFolder / fmt::format("{}{:06}", kPrefix, step);
}

fs::path write_checkpoint(const fs::path& run_directory, std::int64_t step,
                          std::span<const NamedTensor> tensors, const Json& state) {
  return write_checkpoint(
      run_directory, step, specs_of(tensors), [&](std::size_t i) { return tensors[i].view.bytes; },
      state);
}

fs::path write_checkpoint(const fs::path& run_directory, std::int64_t step,
                          std::span<const TensorSpec> tensors, const BytesOf& bytes_of,
                          const Json& state) {
  require(step >= 0, "a checkpoint of step {}", step);
  const std::string text = state_text(step, state);
  const fs::path target = checkpoint_path(run_directory, step);
  PartialDirectory partial(target, Existing::replace);
  Manifest manifest;
  manifest.emplace(kTensors, write_tensors(partial.path() / kTensors, tensors, bytes_of));
  manifest.emplace(kState, write_text(partial.path() / kState, text));
  write_text(partial.path() / kManifest, print_manifest(manifest));
  partial.publish();
  return target;
}

void keep_last(const fs::path& run_directory, int count, const fs::path& written) {
  if (count <= 0) return;
  const auto found = list_checkpoints(run_directory);
  const auto kept = static_cast<std::size_t>(count);
  for (std::size_t i = 0; i + kept < found.size(); ++i) {
    if (found[i].path.filename() == written.filename()) continue;
    try {
      remove_directory(found[i].path);
    } catch (const InputError& error) {
      log::warn("an old checkpoint stays: {}", error.what());
    }
  }
}

Checkpoint::Checkpoint(const fs::path& directory) : directory_(directory) {
  std::error_code code;
  require_input(fs::is_directory(directory, code), "{}: no such checkpoint directory",
                directory.string());
  const fs::path manifest_path = directory / kManifest;
  require_input(fs::exists(manifest_path, code),
                "{}: missing; the directory is not a whole checkpoint", manifest_path.string());
  const Manifest manifest = parse_manifest(read_file(manifest_path), manifest_path.string());
  for (const char* name : {kTensors, kState}) {
    require_input(manifest.contains(name), "{}: does not list {}", manifest_path.string(), name);
  }
  verify_files(manifest, directory);
  tensors_.emplace(directory / kTensors);
  const std::string state_place = (directory / kState).string();
  state_ = parse_json_object(read_file(directory / kState), state_place, kMostStateDepth);
  const Json& version = member(state_, "format_version", state_place);
  require_input(version == kFormatVersion,
                "{}: format_version {}; this version of Bessemer reads {}", state_place,
                shortened(version), kFormatVersion);
  const Json& step = member(state_, "step", state_place);
  require_input(step.is_number_unsigned(), "{}: step: expected a whole number, found {}",
                state_place, shortened(step));
  step_ = step.get<std::int64_t>();
}

std::optional<TensorView> Checkpoint::find(std::string_view name) const {
  return tensors_->find(name);
}

std::vector<std::string> Checkpoint::names() const { return tensors_->names(); }

}  // namespace bessemer::checkpoint

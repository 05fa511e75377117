// Training checkpoints. One is a directory RUN/checkpoints/step_NNNNNN with
//
//   tensors.safetensors  all persistent tensors by their dotted names, in the precision they are
//                        kept in (master weights, optimiser state, gradients in flight)
//   state.json           everything else a resumed run needs: "format_version", "step", and the
//                        trainer's own keys (data position, seeds, configuration digest, ...)
//   manifest.json        sizes and checksums of the other two (manifest.h)
//
// Goals: whole or not there, whatever happens while it is written; damage is found before a run
// starts from it; any safetensors reader can open the tensors. Non-goals: compression, appending,
// protection against somebody who changes files on purpose.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_source.h"

namespace bessemer::checkpoint {

struct CheckpointPath {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// The checkpoints of a run directory, ascending by step; none where there is no such directory.
std::vector<CheckpointPath> list_checkpoints(const std::filesystem::path& run_directory);

/// The one with the highest step.
std::optional<std::filesystem::path> find_latest(const std::filesystem::path& run_directory);

/// RUN/checkpoints/step_NNNNNN; more than six digits where the step has more.
std::filesystem::path checkpoint_path(const std::filesystem::path& run_directory,
                                      std::int64_t step);

/// Writes a checkpoint and returns its path. `state` is a JSON object without the keys
/// "format_version" and "step" and without numbers JSON cannot hold (NaN, infinities). A checkpoint
/// of the same step is replaced once the new one is whole. InputError (full disk, no permission)
/// names the path and the system's reason, leaves no partial directory and touches no other
/// checkpoint. The caller holds the run's lock (run_lock.h).
std::filesystem::path write_checkpoint(const std::filesystem::path& run_directory,
                                       std::int64_t step, std::span<const NamedTensor> tensors,
                                       const nlohmann::json& state);

/// The same with bytes that are asked for one tensor at a time.
std::filesystem::path write_checkpoint(const std::filesystem::path& run_directory,
                                       std::int64_t step, std::span<const TensorSpec> tensors,
                                       const BytesOf& bytes_of, const nlohmann::json& state);

/// Deletes all but the `count` highest steps (0 keeps all) and never `written`. A checkpoint that
/// cannot be deleted is logged and left.
void keep_last(const std::filesystem::path& run_directory, int count,
               const std::filesystem::path& written);

/// A checkpoint opened for reading. The constructor reads every byte once, to compare it with the
/// manifest: InputError names the file that is missing, truncated or changed.
class Checkpoint : public TensorSource {
 public:
  explicit Checkpoint(const std::filesystem::path& directory);

  std::optional<TensorView> find(std::string_view name) const override;
  std::vector<std::string> names() const override;
  std::string place() const override { return directory_.string(); }

  std::int64_t step() const { return step_; }
  /// The whole of state.json.
  const nlohmann::json& state() const { return state_; }

 private:
  std::filesystem::path directory_;
  std::optional<SafetensorsFile> tensors_;
  nlohmann::json state_;
  std::int64_t step_ = 0;
};

}  // namespace bessemer::checkpoint

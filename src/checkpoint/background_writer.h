// Checkpoints written while training goes on: it stops only for a copy of the tensors in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/arena.h"
#include "checkpoint/tensor_source.h"

namespace bessemer::checkpoint {

/// Not thread-safe: one owner calls it. The caller holds the run's lock (run_lock.h).
class BackgroundWriter {
 public:
  /// `keep`: how many checkpoints stay, 0 for all. An old one goes only when the new one is whole,
  /// so for a while there is one more on the disk. Clears what a killed run left half-written.
  BackgroundWriter(std::filesystem::path run_directory, int keep);
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;
  /// Waits; an error nobody asked for is logged.
  ~BackgroundWriter();

  /// Bytes of the buffer that `save` copies these tensors to, for the memory ledger.
  static std::size_t snapshot_bytes(std::span<const TensorSpec> specs);

  /// Gets the buffer now, so that no later `save` of these tensors allocates it.
  void reserve(std::span<const TensorSpec> specs);

  /// Copies tensor number `index` of those that are saved.
  using CopyTo = std::function<void(std::size_t index, std::span<std::byte> to)>;

  /// Copies the tensors and returns; a thread of its own writes them (write_checkpoint). Waits
  /// first for the write before this one; where that failed, throws its error once and saves
  /// nothing, and the next call starts afresh. The buffer is kept and reused.
  void save(std::int64_t step, std::span<const TensorSpec> specs, const CopyTo& copy_to,
            nlohmann::json state);

  /// Writes before it returns, without a copy in memory: for tensors that are not in memory, or
  /// where there is no room for them twice.
  void write_now(std::int64_t step, std::span<const TensorSpec> specs, const BytesOf& bytes_of,
                 const nlohmann::json& state);

  /// Returns when nothing is being written; throws the error of the last write, once.
  void wait();

 private:
  void reserve_bytes(std::size_t bytes);

  std::filesystem::path run_directory_;
  int keep_;
  Arena buffer_;
  std::vector<NamedTensor> snapshot_;
  std::future<void> writing_;
};

}  // namespace bessemer::checkpoint

// What a checkpoint's state.json says of a run, beside the tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "config/run_config.h"

namespace bessemer::train {

struct RunState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;          // trained on so far
  std::uint64_t next_sequence = 0;  // the data position: the first sequence not yet used
  std::int64_t skipped = 0;         // steps whose loss or gradient was not finite
  std::int64_t skipped_in_a_row = 0;
  std::int64_t micro_batch_size =
      1;  // sequences; a run keeps it, since it decides how sums are taken
  // data.token_pairs; a run keeps it, since it decides which rank adds what. Old checkpoints do not
  // say it: they are of one rank, where it has no effect.
  std::optional<std::int64_t> token_pairs;
  std::string config_digest;  // of what must not change between a run and its continuation
};

nlohmann::json to_json(const RunState& state);

/// InputError naming `place` and the key that is missing or of another type.
RunState read_state(const nlohmann::json& json, std::int64_t step, const std::string& place);

/// A digest of the settings that make a run what it is: model, data, batch, optimizer, precision,
/// seed. How long it runs, what it logs and when it saves may change.
std::string digest_of(const config::RunConfig& config);

/// InputError where the checkpoint was made under other settings.
void require_same_run(const RunState& state, const std::string& digest, const std::string& place);

}  // namespace bessemer::train

#include "train/run_state.h"

#include "base/error.h"
#include "config/parse.h"
#include "data/manifest.h"

namespace bessemer::train {

nlohmann::json to_json(const RunState& state) {
  return {{"tokens", state.tokens},
          {"next_sequence", state.next_sequence},
          {"skipped", state.skipped},
          {"skipped_in_a_row", state.skipped_in_a_row},
          {"micro_batch_size", state.micro_batch_size},
          {"token_pairs", state.token_pairs.value_or(0)},
          {"config_digest", state.config_digest}};
}

RunState read_state(const nlohmann::json& json, std::int64_t step, const std::string& place) {
  const auto whole = [&](const char* key) {
    const bool good = json.contains(key) && json[key].is_number_integer() && json[key] >= 0;
    require_input(good, "{}: state.json: '{}' must be an integer of at least 0", place, key);
    return json[key].get<std::int64_t>();
  };
  RunState state;
  state.step = step;
  state.tokens = whole("tokens");
  state.next_sequence = static_cast<std::uint64_t>(whole("next_sequence"));
  state.skipped = whole("skipped");
  state.skipped_in_a_row = whole("skipped_in_a_row");
  // Checkpoints that do not say so are of a time when it was 1 where the run file left it out.
  if (json.contains("micro_batch_size")) state.micro_batch_size = whole("micro_batch_size");
  if (json.contains("token_pairs") && whole("token_pairs") > 0) {
    state.token_pairs = whole("token_pairs");
  }
  const bool digest = json.contains("config_digest") && json["config_digest"].is_string();
  require_input(digest, "{}: state.json: 'config_digest' must be a text", place);
  state.config_digest = json["config_digest"].get<std::string>();
  return state;
}

std::string digest_of(const config::RunConfig& config) {
  const config::RunConfig defaults;
  config::RunConfig same = config;
  const config::TrainConfig& train = config.train;
  same.train = defaults.train;
  same.train.micro_batch_size = train.micro_batch_size;
  same.train.global_batch_size = train.global_batch_size;
  same.train.steps = 1;  // length may change; a run file must name one
  same.checkpoint = defaults.checkpoint;
  same.log = defaults.log;
  same.memory = defaults.memory;
  if (same.optimizer.update == config::UpdateMode::speculative) {  // the same numbers
    same.optimizer.update = config::UpdateMode::synchronous;
  }
  same.run.threads.reset();
  same.optimizer.warmup_steps.reset();  // derived from the length where not given
  same.optimizer.decay_steps.reset();
  same.data.cache.reset();
  same.data.workers.reset();  // how sequences are delivered, not which
  same.data.worker_count.reset();
  same.data.worker_timeout.reset();
  same.data.prefetch_bytes.reset();
  same.data.balance.reset();
  same.data.token_pairs.reset();
  return data::digest_of(config::to_toml(same));
}

void require_same_run(const RunState& state, const std::string& digest, const std::string& place) {
  require_input(state.config_digest.empty() || state.config_digest == digest,
                "{}: this checkpoint was made with other settings of [model], [data], [optimizer], "
                "[precision], the batch or the seed; put them back as run.toml beside it says, or "
                "start a new run with another train.name",
                place);
}

}  // namespace bessemer::train

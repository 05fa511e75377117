#include "config/checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/names.h"

namespace bessemer::config {
namespace {

using Keys = std::initializer_list<std::string_view>;

/// A run or a source: its name is that of a directory or a file.
bool can_name_a_file(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c < 0x20 || c == '/'; });
}

class Checker {
 public:
  Checker(const RunConfig& config, const Origins& origins, Complaints& complaints)
      : config_(config), origins_(origins), complaints_(complaints) {}

  void model();
  void rope_scaling();
  void data();
  void train();
  void optimizer();
  void precision();
  void memory();

 private:
  /// Complains at the first of `keys` that the user set, unless one of them is broken.
  template <typename... Args>
  void unless(bool good, Keys keys, fmt::format_string<Args...> format, Args&&... args) {
    if (good) return;
    for (const auto key : keys)
      if (origins_.broken.find(key) != origins_.broken.end()) return;
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    for (const auto key : keys) {
      const auto found = origins_.set.find(key);
      if (found == origins_.set.end()) continue;
      complaints_.add(found->second.line,
                      fmt::format("{}: {}: {}", found->second.place, key, text));
      return;
    }
    complaints_.add(kNoLine, fmt::format("{}: {}: {}", origins_.file_name, *keys.begin(), text));
  }

  const RunConfig& config_;
  const Origins& origins_;
  Complaints& complaints_;
};

void Checker::model() {
  const ModelConfig& m = config_.model;
  unless(!(m.config && m.from), {"model.from", "model.config"},
         "model.config and model.from both name a model; keep one");
  unless(m.architecture || m.config || m.from, {"model.architecture", "model.config", "model.from"},
         "missing; give architecture = \"gpt2\" or \"llama\" in [model] (or config = "
         "\"config.json\", or from = \"hf-directory\")");
  if (m.architecture && !m.config && !m.from) {
    const std::string_view family = name_of(*m.architecture);
    unless(m.layers.has_value(), {"model.layers"}, "missing; {} needs layers, hidden and heads",
           family);
    unless(m.hidden.has_value(), {"model.hidden"}, "missing; {} needs layers, hidden and heads",
           family);
    unless(m.heads.has_value(), {"model.heads"}, "missing; {} needs layers, hidden and heads",
           family);
  }
  if (m.heads && m.kv_heads)
    unless(*m.heads % *m.kv_heads == 0, {"model.kv_heads", "model.heads"},
           "{} key-value heads do not divide {} heads", *m.kv_heads, *m.heads);
  if (m.heads && m.hidden && !m.head_dim)
    unless(*m.hidden % *m.heads == 0, {"model.hidden", "model.heads"},
           "hidden = {} is not a multiple of heads = {} (or set head_dim)", *m.hidden, *m.heads);
  if (m.context)
    unless(*m.context >= config_.data.sequence_length, {"model.context", "data.sequence_length"},
           "context = {} is shorter than data.sequence_length = {}", *m.context,
           config_.data.sequence_length);
  if (m.architecture == Architecture::gpt2) {
    unless(!m.kv_heads || !m.heads || *m.kv_heads == *m.heads, {"model.kv_heads"},
           "gpt2 has as many key-value heads as heads ({}); use llama for fewer",
           m.heads.value_or(0));
    unless(!m.rope_theta, {"model.rope_theta"}, "gpt2 has learned positions, no rotary ones");
    unless(!m.rope_scaling || m.rope_scaling->type == RopeScalingType::none,
           {"model.rope_scaling.type"}, "gpt2 has learned positions, no rotary ones");
  }
  if (m.architecture == Architecture::llama) {
    std::int64_t dim = m.head_dim.value_or(0);
    if (!m.head_dim && m.hidden && m.heads && *m.hidden % *m.heads == 0) dim = *m.hidden / *m.heads;
    unless(dim % 2 == 0, {"model.head_dim", "model.heads", "model.hidden"},
           "rotary positions need an even width of a head, and it is {}", dim);
  }
}

void Checker::rope_scaling() {
  if (!config_.model.rope_scaling) return;
  const RopeScaling& r = *config_.model.rope_scaling;
  const bool by_frequency = r.type == RopeScalingType::llama3 || r.type == RopeScalingType::yarn;
  unless(!by_frequency || r.original_context,
         {"model.rope_scaling.original_context", "model.rope_scaling.type"},
         "{} scaling needs original_context, the context before stretching", name_of(r.type));
  unless(r.type != RopeScalingType::llama3 || r.low_freq_factor < r.high_freq_factor,
         {"model.rope_scaling.low_freq_factor", "model.rope_scaling.high_freq_factor"},
         "low_freq_factor = {} must be below high_freq_factor = {}", r.low_freq_factor,
         r.high_freq_factor);
  unless(r.type != RopeScalingType::yarn || r.beta_slow < r.beta_fast,
         {"model.rope_scaling.beta_slow", "model.rope_scaling.beta_fast"},
         "beta_slow = {} must be below beta_fast = {}", r.beta_slow, r.beta_fast);
}

void Checker::data() {
  const DataConfig& d = config_.data;
  unless(!d.sources.empty(), {"data.path", "data.source"},
         "missing; give path = \"my.txt\" in [data], or [[data.source]] tables");
  for (std::size_t i = 0; i < d.sources.size(); ++i) {
    const std::string key = fmt::format("data.source[{}].path", i);
    const std::string name = fmt::format("data.source[{}].name", i);
    unless(!d.sources[i].path.empty(), {key, name, "data.path"}, "missing; source {} has no path",
           i + 1);
    unless(d.sources[i].path.empty() || can_name_a_file(d.sources[i].name), {name, key},
           "{} cannot name a source; give it another name", shown(d.sources[i].name));
    const auto same = [&](const DataSource& other) { return other.name == d.sources[i].name; };
    unless(d.sources[i].path.empty() ||
               std::none_of(d.sources.begin(), d.sources.begin() + static_cast<std::ptrdiff_t>(i),
                            same),
           {name, key}, "two sources are named {}; give each its own name",
           shown(d.sources[i].name));
  }
  for (std::size_t i = 0; i < d.sources.size(); ++i) {
    const auto& changes = d.sources[i].weight_changes;
    const auto late = std::adjacent_find(changes.begin(), changes.end(), [](auto& a, auto& b) {
      return b.ramp_from < a.from || b.from <= a.from;
    });
    unless(late == changes.end(), {fmt::format("data.source[{}].weight_changes", i)},
           "the changes of {} must be in the order of their steps, and ramps must not overlap",
           shown(d.sources[i].name));
  }
  for (std::size_t i = 0; i < d.sources.size(); ++i) {
    unless(d.sources[i].tokenize == Tokenize::ahead || d.tokenizer || config_.model.from,
           {fmt::format("data.source[{}].tokenize", i)},
           "\"on_the_fly\" needs a tokenizer that is there already; name it in data.tokenizer, or "
           "train one: bessemer tokenizer train");
  }
  unless(!(d.tokenizer && d.vocabulary), {"data.vocabulary", "data.tokenizer"},
         "data.vocabulary sizes a tokenizer to train, and data.tokenizer names one; keep one");
  if (config_.model.vocabulary && d.vocabulary)
    unless(*config_.model.vocabulary >= *d.vocabulary, {"model.vocabulary", "data.vocabulary"},
           "the model's vocabulary of {} is below the tokenizer's, data.vocabulary = {}",
           *config_.model.vocabulary, *d.vocabulary);
}

void Checker::train() {
  const TrainConfig& t = config_.train;
  unless(can_name_a_file(t.name), {"train.name"}, "{} cannot name a directory", shown(t.name));
  unless(t.steps || t.max_tokens, {"train.steps", "train.max_tokens"},
         "missing; give steps (or max_tokens) in [train]");
  if (t.global_batch_size && t.micro_batch_size)
    unless(*t.global_batch_size % *t.micro_batch_size == 0,
           {"train.global_batch_size", "train.micro_batch_size"},
           "global_batch_size = {} is not a multiple of micro_batch_size = {}",
           *t.global_batch_size, *t.micro_batch_size);
}

void Checker::optimizer() {
  const OptimizerConfig& o = config_.optimizer;
  const bool constant = o.schedule == Schedule::constant;
  unless(constant || !o.min_learning_rate || *o.min_learning_rate <= o.learning_rate,
         {"optimizer.min_learning_rate", "optimizer.learning_rate"},
         "min_learning_rate = {} is above learning_rate = {}", o.min_learning_rate.value_or(0),
         o.learning_rate);
  if (!config_.train.steps && !config_.train.max_tokens) return;
  const std::int64_t steps = total_steps(config_);
  const std::int64_t warmup = o.warmup_steps.value_or(0);
  unless(warmup <= steps, {"optimizer.warmup_steps", "train.steps", "train.max_tokens"},
         "{} steps of warm-up do not fit the run's {} steps", warmup, steps);
  const std::int64_t decay = o.decay_steps.value_or(0);
  unless(warmup > steps || decay <= steps - warmup,
         {"optimizer.decay_steps", "optimizer.warmup_steps", "train.steps", "train.max_tokens"},
         "{} steps of warm-up and {} of decay do not fit the run's {} steps", warmup, decay, steps);
}

void Checker::precision() {
  const PrecisionConfig& p = config_.precision;
  const bool delayed = p.recipe == Recipe::fp8 && p.fp8_scaling == Fp8Scaling::delayed;
  unless(!delayed || config_.optimizer.update == UpdateMode::synchronous,
         {"precision.fp8_scaling", "optimizer.update"},
         "\"delayed\" scaling needs optimizer.update = \"synchronous\", found \"{}\"; set that, or "
         "fp8_scaling = \"current\" or \"block\"",
         name_of(config_.optimizer.update));
  const bool rounds = p.recipe == Recipe::bf16 || p.recipe == Recipe::fp8;
  unless(p.parameters == Parameters::fp32 || rounds, {"precision.parameters", "precision.recipe"},
         "parameters = \"bf16\" needs recipe = \"bf16\" or \"fp8\", and it is \"{}\"",
         name_of(p.recipe));
}

void Checker::memory() {
  const MemoryConfig& m = config_.memory;
  const std::vector<OffloadItem> offload = m.offload.value_or(std::vector<OffloadItem>());
  for (std::size_t i = 0; i < offload.size(); ++i) {
    const OffloadItem& item = offload[i];
    unless(item.to != OffloadTier::file || m.file, {"memory.offload"},
           "\"{}:file\" needs file = \"/directory:SIZE\" in [memory]", name_of(item.what));
    const auto same = [&](const OffloadItem& other) { return other.what == item.what; };
    unless(std::none_of(offload.begin(), offload.begin() + static_cast<std::ptrdiff_t>(i), same),
           {"memory.offload"}, "\"{}\" stands there twice", name_of(item.what));
  }
}

}  // namespace

void check_run(const RunConfig& config, const Origins& origins, Complaints& complaints) {
  Checker checker(config, origins, complaints);
  checker.model();
  checker.rope_scaling();
  checker.data();
  checker.train();
  checker.optimizer();
  checker.precision();
  checker.memory();
}

}  // namespace bessemer::config

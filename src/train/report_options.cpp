#include <algorithm>

#include <fmt/format.h>

#include "checkpoint/background_writer.h"
#include "config/names.h"
#include "train/compile.h"

namespace bessemer::train {
namespace {

std::string model_text(const models::Architecture& a) {
  const std::string heads = a.kv_heads == a.heads
                                ? fmt::format("{} heads", a.heads)
                                : fmt::format("{} heads ({} key-value)", a.heads, a.kv_heads);
  return fmt::format(
      "{}, {} layer{}, hidden {}, {} of {}, ffn {}, vocabulary {}, {:.2f} M parameters",
      config::name_of(a.family), a.layers, a.layers == 1 ? "" : "s", a.hidden, heads, a.head_dim,
      a.ffn, a.vocabulary, static_cast<double>(models::parameter_count(a)) / 1e6);
}

// What checkpoints are written from: a copy of all, or one tensor of the file tier at a time.
std::size_t bytes_beside(const plan::Plan& plan) {
  const std::vector<checkpoint::TensorSpec> specs = specs_to_save(plan);
  if (saves_from_copy(plan)) return checkpoint::BackgroundWriter::snapshot_bytes(specs);
  std::size_t largest = 0;
  for (const checkpoint::TensorSpec& spec : specs) {
    const bool in_file = plan.find_tensor(spec.name)->tier == ir::Tier::file;
    if (in_file) largest = std::max(largest, spec.type.bytes());
  }
  return largest;
}

}  // namespace

std::vector<checkpoint::TensorSpec> specs_to_save(const plan::Plan& plan) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    if (entry.role == ir::Role::parameter || entry.role == ir::Role::optimizer) {
      specs.push_back({entry.name, entry.type});
    }
  }
  return specs;
}

bool saves_from_copy(const plan::Plan& plan) {
  for (const checkpoint::TensorSpec& spec : specs_to_save(plan)) {
    if (plan.find_tensor(spec.name)->tier != ir::Tier::device) return false;
  }
  return true;
}

plan::ReportOptions report_options(const config::RunConfig& config, const CompiledRun& run) {
  plan::ReportOptions options;
  options.micro_batches = run.micro_batches;
  options.tokens_per_step = *config.train.global_batch_size * config.data.sequence_length;
  options.heading = fmt::format(
      "run      {}\nmodel    {}\nbatch    {} sequences of {} tokens a step, in {} micro-batch{} of "
      "{}\nrecipe   {}\n",
      config.train.name, model_text(run.architecture), *config.train.global_batch_size,
      config.data.sequence_length, run.micro_batches, run.micro_batches == 1 ? "" : "es",
      config.train.micro_batch_size, config::name_of(config.precision.recipe));
  if (config.checkpoint.every > 0) {
    options.heading += fmt::format("beside   {} outside the arena, to write checkpoints from\n",
                                   plan::bytes_text(bytes_beside(run.plan)));
  }
  return options;
}

}  // namespace bessemer::train

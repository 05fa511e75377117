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

// The copy that a checkpoint is written from while training goes on.
std::size_t snapshot_bytes(const plan::Plan& plan) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    if (entry.role == ir::Role::parameter || entry.role == ir::Role::optimizer) {
      specs.push_back({entry.name, entry.type});
    }
  }
  return checkpoint::BackgroundWriter::snapshot_bytes(specs);
}

}  // namespace

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
                                   plan::bytes_text(snapshot_bytes(run.plan)));
  }
  return options;
}

}  // namespace bessemer::train

#include <fmt/format.h>

#include "config/names.h"
#include "train/compile.h"
#include "train/outside.h"

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

std::string recipe_text(const config::PrecisionConfig& precision) {
  const std::string name(config::name_of(precision.recipe));
  if (precision.recipe != config::Recipe::fp8) return name;
  return fmt::format("{}, {} scaling", name, config::name_of(precision.fp8_scaling));
}

}  // namespace

plan::ReportOptions report_options(const config::RunConfig& config, const CompiledRun& run,
                                   std::size_t resident_now) {
  plan::ReportOptions options;
  options.micro_batches = run.micro_batches;
  options.tokens_per_step = *config.train.global_batch_size * config.data.sequence_length;
  options.heading = fmt::format(
      "run      {}\nmodel    {}\nbatch    {} sequences of {} tokens a step, in {} micro-batch{} of "
      "{}\nrecipe   {}{}{}\n",
      config.train.name, model_text(run.architecture), *config.train.global_batch_size,
      config.data.sequence_length, run.micro_batches, run.micro_batches == 1 ? "" : "es",
      run.micro_batch_size, recipe_text(config.precision),
      config.precision.parameters == config::Parameters::bf16 ? ", parameters in bf16" : "",
      config.precision.stash == config::Stash::int8 ? ", stash in int8" : "");
  options.outside = outside_arena(config, run, resident_now);
  return options;
}

}  // namespace bessemer::train

#include <algorithm>

#include "config/field.h"

namespace bessemer::config {
namespace {

constexpr IntegerRange at_least(std::int64_t low) { return {.low = low}; }
constexpr IntegerRange from_to(std::int64_t low, std::int64_t high) { return {low, high}; }
constexpr RealRange kPositive = {.low = 0, .open_low = true};
constexpr RealRange kNotNegative = {.low = 0};
constexpr RealRange kShare = {.low = 0, .high = 1, .open_high = true};
// Above any model or batch there is, and low enough that products of sizes fit 64 bits.
constexpr std::int64_t kMostOfASize = std::int64_t{1} << 24;

using Table = std::vector<Field<RunConfig>>;

template <typename Section>
SectionFields<RunConfig, Section> section(Table& table, std::string name,
                                          Section RunConfig::*member) {
  return {std::move(name), table, [member](RunConfig& owner) -> Section& { return owner.*member; },
          [member](const RunConfig& owner) { return &(owner.*member); }};
}

void add_model(Table& table) {
  using M = ModelConfig;
  const auto size = from_to(1, kMostOfASize);
  section(table, "model", &RunConfig::model)
      .choice("architecture", &M::architecture, kArchitectures,
              "the family; else `config` or `from` names one")
      .path("config", &M::config, "a Hugging Face `config.json` to take the sizes from")
      .path("from", &M::from, "a Hugging Face directory to take sizes and weights from")
      .integer("layers", &M::layers, size, "transformer blocks")
      .integer("hidden", &M::hidden, size, "width of the residual stream")
      .integer("heads", &M::heads, size, "query heads")
      .integer("kv_heads", &M::kv_heads, size, "key-value heads, a divisor of `heads` (`heads`)")
      .integer("head_dim", &M::head_dim, size, "width of a head (`hidden` / `heads`)")
      .integer("ffn", &M::ffn, size,
               "width inside the feed-forward (gpt2: 4 `hidden`; llama: 8/3 `hidden`, up to a "
               "multiple of 64)")
      .integer("context", &M::context, size, "longest sequence (`data.sequence_length`)")
      .integer("vocabulary", &M::vocabulary, size, "rows of the embedding (the tokenizer's)")
      .real("rope_theta", &M::rope_theta, kPositive, "llama: base of the rotary angles (10000)")
      .boolean("tied_embeddings", &M::tied_embeddings,
               "the head shares the embedding (gpt2: true; llama: false)")
      .real("norm_epsilon", &M::norm_epsilon, kPositive, "added to the variance (1e-5)")
      .boolean("qkv_bias", &M::qkv_bias,
               "query, key and value have biases (gpt2: true; llama: false)")
      .integer("attention_window", &M::attention_window, from_to(0, kMostOfASize),
               "keys that a query sees; 0: all before it (0)")
      .real("initializer_range", &M::initializer_range, kPositive,
            "standard deviation of fresh weights (0.02)")
      .real("dropout", &M::dropout, kShare, "of embedding, residual and attention (0)");

  using R = RopeScaling;
  SectionFields<RunConfig, R>(
      "model.rope_scaling", table,
      [](RunConfig& owner) -> R& {
        if (!owner.model.rope_scaling) owner.model.rope_scaling.emplace();
        return *owner.model.rope_scaling;
      },
      [](const RunConfig& owner) -> const R* {
        return owner.model.rope_scaling ? &*owner.model.rope_scaling : nullptr;
      })
      .choice("type", &R::type, kRopeScalings, "how positions are stretched")
      .alias("rope_type")
      .real("factor", &R::factor, {.low = 1}, "by how much")
      .integer("original_context", &R::original_context, size,
               "llama3, yarn: context before stretching")
      .alias("original_max_position_embeddings")
      .real("low_freq_factor", &R::low_freq_factor, kPositive, "llama3")
      .real("high_freq_factor", &R::high_freq_factor, kPositive, "llama3")
      .real("beta_fast", &R::beta_fast, kPositive, "yarn")
      .real("beta_slow", &R::beta_slow, kPositive, "yarn")
      .real("attention_factor", &R::attention_factor, kPositive, "yarn (0.1 ln(`factor`) + 1)");
}

/// `path` is short for a single source, and prints as one.
Field<RunConfig> data_path() {
  Field<RunConfig> field;
  field.section = "data";
  field.key = "path";
  field.expected = "a path";
  field.doc = "the corpus; short for one `[[data.source]]`";
  field.read = [](const Value& value, RunConfig& owner) {
    DataSource source;
    if (!source_fields()[1].read(value, source)) return false;
    owner.data.sources = {std::move(source)};
    return true;
  };
  field.print = [](const RunConfig&) { return std::optional<std::string>(); };
  return field;
}

void add_data(Table& table) {
  table.push_back(data_path());
  using D = DataConfig;
  section(table, "data", &RunConfig::data)
      .integer("sequence_length", &D::sequence_length, from_to(1, kMostOfASize),
               "tokens of a training sequence")
      .path("tokenizer", &D::tokenizer,
            "`tokenizer.json`, `tokenizer.model` or tiktoken file (that of `model.from`; else one "
            "is trained on the data)")
      .integer("vocabulary", &D::vocabulary, from_to(257, kMostOfASize),
               "tokens of the tokenizer to train (8192)")
      .text("text_field", &D::text_field, "key of the text in a JSONL object")
      .choice("on_bad_record", &D::on_bad_record, kOnBadRecords,
              "a line of a JSONL file that is no object with a text: end with a message, or log, "
              "count and go on")
      .choice("packing", &D::packing, kPackings,
              "of documents into sequences: whole ones where they fit, or end to end and cut where "
              "a sequence ends")
      .real("validation_fraction", &D::validation_fraction, kShare,
            "share of each source's documents kept out of training")
      .integer("seed", &D::seed, at_least(0), "of order and split (`run.seed`)")
      .path("cache", &D::cache, "where tokenized data is kept (the run directory)")
      .choice("workers", &D::workers, kWorkers,
              "who reads sequences: threads of this process, or processes that may die without it "
              "(threads)")
      .integer("worker_count", &D::worker_count, from_to(1, 256),
               "workers of one source, at most; as many as it needs so that nobody waits (4)")
      .real("worker_timeout", &D::worker_timeout, {.low = 0, .high = 86400, .open_low = true},
            "seconds that reading one sequence may take before another worker does it (60)")
      .bytes("prefetch_bytes", &D::prefetch_bytes,
             "memory for sequences that are read ahead: a step at least, 256 steps at most (16MiB)")
      .choice("balance", &D::balance, kBalances,
              "how the sequences of a step are dealt to several ranks, by what they cost; without "
              "effect on one rank (karmarkar_karp)")
      .integer("token_pairs", &D::token_pairs, from_to(1, std::int64_t{1} << 40),
               "what `balance` takes a token to cost, in pairs of tokens that attention looks at "
               "(measured when a run starts; the run keeps it)");
}

void add_train(Table& table) {
  using T = TrainConfig;
  const auto steps_or_never = at_least(0);
  section(table, "train", &RunConfig::train)
      .text("name", &T::name, "of the run (the run file's name)")
      .path("directory", &T::directory, "the run is written to `directory`/`name`")
      .integer("steps", &T::steps, at_least(1), "optimizer updates")
      .integer("max_tokens", &T::max_tokens, at_least(1), "tokens to train on, instead of `steps`")
      .integer("micro_batch_size", &T::micro_batch_size, from_to(1, kMostOfASize),
               "sequences of one forward and backward pass (the planner's choice: what takes least "
               "time within [memory]; a run keeps it)")
      .integer("global_batch_size", &T::global_batch_size, from_to(1, kMostOfASize),
               "sequences of a step, a multiple of `micro_batch_size` (`micro_batch_size`, else 1)")
      .integer("evaluate_every", &T::evaluate_every, steps_or_never, "steps; 0: never")
      .integer("evaluate_batches", &T::evaluate_batches, at_least(0),
               "micro-batches per source; 0: all there are")
      .integer("sample_every", &T::sample_every, steps_or_never, "steps; 0: never")
      .text("sample_prompt", &T::sample_prompt, "what samples go on from")
      .integer("sample_tokens", &T::sample_tokens, from_to(1, kMostOfASize), "length of a sample")
      .real("sample_temperature", &T::sample_temperature, kNotNegative,
            "0: always the likeliest token")
      .integer("max_skipped_steps", &T::max_skipped_steps, at_least(1),
               "steps in a row with a non-finite loss or gradient before the run stops");
}

void add_optimizer(Table& table) {
  using O = OptimizerConfig;
  section(table, "optimizer", &RunConfig::optimizer)
      .choice("name", &O::name, kOptimizers, "the update rule")
      .real("learning_rate", &O::learning_rate, kNotNegative, "the peak")
      .alias("lr")
      .real("min_learning_rate", &O::min_learning_rate, kNotNegative,
            "the end of the decay (`learning_rate` / 10)")
      .choice("schedule", &O::schedule, kSchedules, "shape of the decay; wsd: warm up, stay, decay")
      .integer("warmup_steps", &O::warmup_steps, at_least(0), "of linear warm-up (2% of the steps)")
      .integer("decay_steps", &O::decay_steps, at_least(0),
               "of decay at the end (wsd: 20% of the steps; linear, cosine: all after warm-up)")
      .real("beta1", &O::beta1, kShare, "decay of the mean")
      .real("beta2", &O::beta2, kShare, "decay of the mean square")
      .real("epsilon", &O::epsilon, kPositive, "added to the root of the mean square")
      .real("weight_decay", &O::weight_decay, kNotNegative, "of matrices")
      .real("gradient_clip", &O::gradient_clip, kNotNegative,
            "largest global gradient norm; 0: no clipping")
      .alias("max_norm")
      .choice(
          "update", &O::update, kUpdateModes,
          "when it runs: after backward; beside the next step, which does not see it yet (delayed: "
          "other numbers); beside backward, undone where a step clips (speculative)");
}

void add_machine(Table& table) {
  section(table, "precision", &RunConfig::precision)
      .choice(
          "recipe", &PrecisionConfig::recipe, kRecipes,
          "tf32: fp32 whose matrices a CUDA device multiplies in TF32, with 10 bits of mantissa "
          "(on the processor, which has no such units, it is fp32); bf16: bf16 arithmetic, fp32 "
          "master weights, gradients and sums; fp8: as bf16, but linear layers multiply in 8 bits",
          "\"fp16\" is")
      .choice("fp8_scaling", &PrecisionConfig::fp8_scaling, kFp8Scalings,
              "of recipe fp8: one scale a tensor, by its largest magnitude (current) or by that of "
              "the last 16 steps (delayed, which reads it once less and needs optimizer.update = "
              "\"synchronous\"), or one for 128 elements in a row, 128 x 128 of a weight (block)")
      .choice("parameters", &PrecisionConfig::parameters, kParameterTypes,
              "of recipes bf16 and fp8, what is kept of matrices: fp32, and what arithmetic reads "
              "beside it, or bf16 alone, which AdamW rounds stochastically: 4 bytes a parameter "
              "less with recipe bf16")
      .choice("stash", &PrecisionConfig::stash, kStashes,
              "what backward takes from forward: same: as it was; int8: in 8 bits, which takes a "
              "third to a half of the memory and changes gradients, not the loss of a step");
  section(table, "checkpoint", &RunConfig::checkpoint)
      .integer("every", &CheckpointConfig::every, at_least(0), "steps, and at the end; 0: never")
      .integer("keep_last", &CheckpointConfig::keep_last, at_least(0),
               "older checkpoints are removed; 0: all are kept");
  section(table, "memory", &RunConfig::memory)
      .bytes("device", &MemoryConfig::device, "budget of the plan (the machine's memory)")
      .bytes("host", &MemoryConfig::host, "budget of the host tier (the machine's memory)")
      .file_budget("file", &MemoryConfig::file, "directory and budget of the file tier (none)")
      .choice("policy", &MemoryConfig::policy, kMemoryPolicies,
              "auto: what fits `device` at the least time; resident: nothing moves, and only what "
              "`recompute` says is recomputed")
      .choice("recompute", &MemoryConfig::recompute, kRecomputes,
              "what backward computes again instead of keeping: nothing, all but the inputs of "
              "layers, what is cheap, or the least that fits memory.device (auto; resident: none)")
      .offload(
          "offload", &MemoryConfig::offload,
          "what is kept off the device: on the host, or in the file where only `file` is given "
          "(auto: what is needed to fit `device`; resident: nothing)");
  section(table, "parallel", &RunConfig::parallel)
      .degree("tp", &ParallelConfig::tp, "tensor parallel ranks")
      .degree("pp", &ParallelConfig::pp, "pipeline stages")
      .degree("dp", &ParallelConfig::dp, "data parallel ranks")
      .degree("cp", &ParallelConfig::cp, "context parallel ranks")
      .degree("ep", &ParallelConfig::ep, "expert parallel ranks");
  section(table, "log", &RunConfig::log)
      .choice("level", &LogConfig::level, kLevels, "what is shown")
      .integer("every", &LogConfig::every, at_least(1), "steps between progress lines");
  section(table, "run", &RunConfig::run)
      .integer("threads", &MachineConfig::threads, from_to(1, 4096), "of the kernels (all cores)")
      .integer("seed", &MachineConfig::seed, at_least(0), "of everything random")
      .device("device", &MachineConfig::device,
              "what computes; auto: the first CUDA device where there is one, else the cpu");
}

}  // namespace

const std::vector<Field<RunConfig>>& run_fields() {
  static const Table table = [] {
    Table made;
    add_model(made);
    add_data(made);
    add_train(made);
    add_optimizer(made);
    add_machine(made);
    return made;
  }();
  return table;
}

const std::vector<Field<DataSource>>& source_fields() {
  static const std::vector<Field<DataSource>> table = [] {
    std::vector<Field<DataSource>> made;
    SectionFields<DataSource, DataSource>(
        "", made, [](DataSource& owner) -> DataSource& { return owner; },
        [](const DataSource& owner) { return &owner; })
        .text("name", &DataSource::name, "in reports (the path's file name)")
        .path("path", &DataSource::path,
              "text, or JSONL (`.jsonl`), each also `.gz` or `.zst`; or a `.bin`/`.idx` prefix")
        .real("weight", &DataSource::weight, kNotNegative,
              "share of the tokens, relative to the other sources'")
        .weight_changes("weight_changes", &DataSource::weight_changes,
                        "its weight from some step on")
        .real("max_epochs", &DataSource::max_epochs, kPositive,
              "how often it may be read; then the other sources go on alone (any number)")
        .choice("format", &DataSource::format, kSourceFormats,
                "what JSONL records are: texts, or conversations under `messages`; auto: as the "
                "first one has it")
        .text("template", &DataSource::chat_template,
              "of conversations: `chatml`, `llama3`, `mistral`, `zephyr`, or a `.json` file with "
              "what stands around each role's messages; only what the assistant says is trained")
        .choice("tokenize", &DataSource::tokenize, kTokenizations,
                "into token files before the first step; or as it is read, so that training starts "
                "at once (needs a tokenizer, and plain files)");
    return made;
  }();
  return table;
}

const std::vector<std::string>& section_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    for (const auto& field : run_fields())
      if (std::find(made.begin(), made.end(), field.section) == made.end())
        made.push_back(field.section);
    return made;
  }();
  return names;
}

}  // namespace bessemer::config

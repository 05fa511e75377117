// The whole of a run as one plain value: what the run file (TOML) says, with the defaults filled
// in. Everything downstream reads its settings from here and from nowhere else.
//
// A member stands for the key of the same name in the section of the same name: `train.steps` is
// `steps` under `[train]`. src/config/fields_*.cpp bind the two, with each key's range and its
// one-line description.
//
// An empty std::optional means one of two things, and the member's comment says which:
//   "filled by parse"   parse_run_config computes it from other keys; empty only in a RunConfig
//                       made by hand (call fill_derived on one);
//   "derived later"     only models/ or data/ can know it (from a config.json, a tokenizer, the
//                       architecture); they fill it in before the configuration is written to the
//                       run directory.
//
// Paths are relative to the current directory, as on any command line, not to the run file.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"

namespace bessemer::config {

enum class Architecture { gpt2, llama };
enum class RopeScalingType { none, linear, llama3, yarn };
enum class OptimizerKind { adamw };
enum class UpdateMode { synchronous, delayed, speculative };
enum class Schedule { constant, linear, cosine, wsd };  // wsd: warm up, stay, decay
enum class Recipe { fp32, tf32, bf16, fp8 };
enum class Fp8Scaling { current, delayed, block };
enum class Parameters { fp32, bf16 };  // what matrices are kept in
enum class Stash { same, int8 };
enum class Recompute { none, full, selective, automatic };
enum class MemoryPolicy { automatic, resident };
enum class TensorClass { optimizer, gradients, parameters, activations };
enum class OffloadTier {
  automatic,
  host,
  file
};  // automatic: host if it has a budget, or no tier has
enum class Packing { best_fit, concatenate };
enum class OnBadRecord { stop, skip };
enum class SourceFormat { automatic, text, messages };
enum class Tokenize { ahead, on_the_fly };
enum class Workers { threads, processes };
enum class Balance { round_robin, greedy, karmarkar_karp };
/// What computes. Written "cpu", "auto", "cuda" or "cuda:1".
struct Device {
  enum class Kind : std::uint8_t {
    cpu,
    cuda,
    automatic,  // the first CUDA device where the program and the machine have one, else the cpu
  } kind = Kind::cpu;
  int index = 0;  // of the CUDA device
  bool operator==(const Device&) const = default;
};

/// A number of bytes. Written in a run file as an integer or as text with a unit: "2GiB", "512MB".
struct Bytes {
  std::uint64_t count = 0;
  bool operator==(const Bytes&) const = default;
};

/// A class of tensors that is kept off the device. Written "optimizer" or "optimizer:file".
struct OffloadItem {
  TensorClass what = TensorClass::optimizer;
  OffloadTier to = OffloadTier::automatic;
  auto operator<=>(const OffloadItem&) const = default;
};

/// Room in a directory. Written "/directory:64GiB".
struct FileBudget {
  std::filesystem::path directory;
  Bytes bytes;
  bool operator==(const FileBudget&) const = default;
};

/// How rotary embeddings reach beyond the context they were trained at; [model.rope_scaling].
/// The names and meanings are Hugging Face's (`rope_scaling` of a config.json).
struct RopeScaling {
  RopeScalingType type = RopeScalingType::none;
  double factor = 1.0;
  std::optional<std::int64_t> original_context;  // positions; needed by llama3 and yarn
  double low_freq_factor = 1.0;                  // llama3
  double high_freq_factor = 4.0;                 // llama3
  double beta_fast = 32.0;                       // yarn
  double beta_slow = 1.0;                        // yarn
  std::optional<double> attention_factor;        // yarn; absent: 0.1 ln(factor) + 1
  bool operator==(const RopeScaling&) const = default;
};

/// [model]. The architecture comes from exactly one of three: `architecture` with its sizes, a
/// Hugging Face `config` file, or a Hugging Face directory `from` whose weights the run starts
/// with. Any other key given beside `config` or `from` overrides what the file says, so every one
/// of them is optional here and "derived later" by models/, from the file or else as commented.
struct ModelConfig {
  std::optional<Architecture> architecture;
  std::optional<std::filesystem::path> config;  // a Hugging Face config.json; weights are drawn
  std::optional<std::filesystem::path> from;    // a Hugging Face directory; weights are read
  std::optional<std::int64_t> layers;
  std::optional<std::int64_t> hidden;
  std::optional<std::int64_t> heads;
  std::optional<std::int64_t> kv_heads;     // divides heads; else heads
  std::optional<std::int64_t> head_dim;     // else hidden / heads
  std::optional<std::int64_t> ffn;          // else 4 hidden (gpt2), 8/3 hidden up to 64s (llama)
  std::optional<std::int64_t> context;      // longest sequence; else data.sequence_length
  std::optional<std::int64_t> vocabulary;   // rows of the embedding; else what the tokenizer needs
  std::optional<double> rope_theta;         // llama; else 10000
  std::optional<RopeScaling> rope_scaling;  // llama; else none
  std::optional<bool> tied_embeddings;      // else true (gpt2), false (llama)
  std::optional<double> norm_epsilon;       // else 1e-5
  std::optional<bool> qkv_bias;             // else true (gpt2), false (llama); Qwen2: true
  std::optional<std::int64_t> attention_window;  // keys a query sees; 0, the default: all before it
  std::optional<double> initializer_range;       // standard deviation of drawn weights; else 0.02
  std::optional<double> dropout;  // embedding, residual and attention; else 0, not the file's value
  bool operator==(const ModelConfig&) const = default;
};

/// A source's weight from step `from` on, reached linearly there from step `ramp_from`. Written
/// "1000: 0.5", or with a ramp "1000-2000: 0.5".
struct WeightChange {
  std::int64_t ramp_from = 1;
  std::int64_t from = 1;
  double weight = 1.0;
  bool operator==(const WeightChange&) const = default;
};

/// [[data.source]]: one corpus of a mixture.
struct DataSource {
  std::string name;            // else the path's file name up to its first dot
  std::filesystem::path path;  // text, JSONL (either .gz or .zst), or a .bin/.idx prefix
  double weight = 1.0;         // share of the tokens seen, relative to the other sources'
  std::vector<WeightChange> weight_changes;  // as training goes on, in the order of their steps
  std::optional<double> max_epochs;          // then the other sources go on alone
  SourceFormat format = SourceFormat::automatic;  // what its JSONL records are
  std::string chat_template = "chatml";           // of messages: a name, or a .json file
  Tokenize tokenize = Tokenize::ahead;            // into token files, or as it is read
  bool operator==(const DataSource&) const = default;
};

/// [data].
struct DataConfig {
  std::vector<DataSource> sources;     // at least one; `path = "..."` is short for a single source
  std::int64_t sequence_length = 512;  // tokens a sequence
  std::optional<std::filesystem::path> tokenizer;  // its file; absent: `from`'s, else trained
  std::optional<std::int64_t> vocabulary;  // of the tokenizer to train; filled by parse with 8192
                                           // where neither `tokenizer` nor `model.from` is given
  std::string text_field = "text";         // of a JSONL object
  OnBadRecord on_bad_record = OnBadRecord::stop;  // a line that is no such object
  Packing packing = Packing::best_fit;            // of documents into sequences
  double validation_fraction = 0.02;           // of each source's documents, kept out of training
  std::optional<std::uint64_t> seed;           // of order and split; filled by parse with run.seed
  std::optional<std::filesystem::path> cache;  // tokenizer and token shards; absent: in the run
                                               // directory
  // How sequences are delivered; which they are does not depend on it. Filled by parse.
  std::optional<Workers> workers;            // threads
  std::optional<std::int64_t> worker_count;  // of one source, at most; 4
  std::optional<double> worker_timeout;      // seconds for one sequence; 60
  std::optional<Bytes> prefetch_bytes;       // read ahead, but a step at least; 16 MiB
  std::optional<Balance> balance;            // of a step over its ranks; karmarkar_karp
  std::optional<std::int64_t> token_pairs;   // of attention, that take as long as all else that a
                                             // token needs; absent: as measured when a run starts
  bool operator==(const DataConfig&) const = default;
};

/// [train]. Batch sizes are in sequences. The run ends at `steps` or `max_tokens`, whichever comes
/// first; one of them is required (`total_steps` below).
struct TrainConfig {
  std::string name;                               // filled by parse: the run file's name, no .toml
  std::filesystem::path directory = "runs";       // the run is written to directory/name
  std::optional<std::int64_t> steps;              // optimizer updates
  std::optional<std::int64_t> max_tokens;         // tokens trained on
  std::optional<std::int64_t> micro_batch_size;   // of one forward and backward pass; absent: the
                                                  // planner of memory chooses
  std::optional<std::int64_t> global_batch_size;  // of one step, a multiple of micro_batch_size;
                                                  // filled by parse with micro_batch_size, or 1
  std::int64_t evaluate_every = 100;              // steps; 0: never
  std::int64_t evaluate_batches = 20;             // micro-batches per source; 0: all there are
  std::int64_t sample_every = 0;                  // steps; 0: never
  std::string sample_prompt;                      // empty: from the start of a document
  std::int64_t sample_tokens = 64;
  double sample_temperature = 0.8;      // 0: always the likeliest token
  std::int64_t max_skipped_steps = 10;  // non-finite in a row before the run stops
  bool operator==(const TrainConfig&) const = default;
};

/// [optimizer]: decoupled weight decay (Loshchilov and Hutter, 2019) under a learning-rate
/// schedule that warms up linearly from 0.
struct OptimizerConfig {
  OptimizerKind name = OptimizerKind::adamw;
  double learning_rate = 3e-4;              // the peak
  std::optional<double> min_learning_rate;  // the end; filled by parse with learning_rate / 10
  Schedule schedule = Schedule::cosine;
  std::optional<std::int64_t> warmup_steps;  // filled by parse: 2% of the steps
  std::optional<std::int64_t>
      decay_steps;  // the last ones; filled by parse: all after warm-up
                    // (linear, cosine), 20% of the steps (wsd), 0 (constant)
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;   // on matrices; norms and biases have none
  double gradient_clip = 1.0;  // global norm; 0: no clipping
  UpdateMode update = UpdateMode::synchronous;
  bool operator==(const OptimizerConfig&) const = default;
};

/// [precision].
struct PrecisionConfig {
  Recipe recipe = Recipe::fp32;
  Fp8Scaling fp8_scaling = Fp8Scaling::current;  // of recipe fp8
  Parameters parameters = Parameters::fp32;      // bf16: of recipes bf16 and fp8
  Stash stash = Stash::same;
  bool operator==(const PrecisionConfig&) const = default;
};

/// [checkpoint]. The last step is always saved, unless `every` is 0.
struct CheckpointConfig {
  std::int64_t every = 500;    // steps; 0: never
  std::int64_t keep_last = 2;  // older ones are removed; 0: all are kept
  bool operator==(const CheckpointConfig&) const = default;
};

/// [memory].
struct MemoryConfig {
  std::optional<Bytes> device;  // the plan's budget; absent: what the machine has
  std::optional<Bytes> host;    // of the host tier; absent: what the machine has
  std::optional<FileBudget> file;
  MemoryPolicy policy = MemoryPolicy::automatic;
  std::optional<Recompute> recompute;  // filled by parse: automatic, or none where resident
  std::optional<std::vector<OffloadItem>> offload;  // absent: the planner of memory chooses
  bool operator==(const MemoryConfig&) const = default;
};

/// [parallel]: the degree of each mesh axis.
struct ParallelConfig {
  std::int64_t tp = 1;  // tensor
  std::int64_t pp = 1;  // pipeline
  std::int64_t dp = 1;  // data
  std::int64_t cp = 1;  // context
  std::int64_t ep = 1;  // expert
  bool operator==(const ParallelConfig&) const = default;
};

/// [log].
struct LogConfig {
  log::Level level = log::Level::info;
  std::int64_t every = 10;  // steps between progress lines; metrics.jsonl has every step
  bool operator==(const LogConfig&) const = default;
};

/// [run].
struct MachineConfig {
  std::optional<std::int64_t> threads;  // of the kernels; absent: one a core
  std::uint64_t seed = 0;               // below 2^63, the largest integer of TOML
  Device device;
  bool operator==(const MachineConfig&) const = default;
};

struct RunConfig {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  OptimizerConfig optimizer;
  PrecisionConfig precision;
  CheckpointConfig checkpoint;
  MemoryConfig memory;
  ParallelConfig parallel;
  LogConfig log;
  MachineConfig run;

  /// Where the run is written: train.directory / train.name.
  std::filesystem::path run_directory() const { return train.directory / train.name; }

  bool operator==(const RunConfig&) const = default;
};

/// Fills in every member marked "filled by parse" that is still empty.
void fill_derived(RunConfig& config);

/// Optimizer updates of the whole run: train.steps, or as many as it takes to see
/// train.max_tokens, or the smaller where both are given. Error where neither is.
std::int64_t total_steps(const RunConfig& config);

}  // namespace bessemer::config

#include "train/corpus.h"

#include <chrono>
#include <cmath>

#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "data/build.h"
#include "data/mixture.h"
#include "data/source.h"
#include "data/split.h"
#include "data/tokenizer_json.h"
#include "train/mixture_stages.h"

namespace bessemer::train {
namespace {

// One line, rewritten in place at a terminal; silent elsewhere, where build_corpus's result is
// logged once instead.
class BuildMeter {
 public:
  void operator()(const data::BuildProgress& progress) {
    if (!terminal_ || progress.total == 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (progress.stage != stage_) {
      stage_ = progress.stage;
      start_ = now;
    }
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
    const double left = share > 0 ? seconds * (1 - share) / share : 0;
    const std::string rate =
        progress.stage == "learn tokens" || seconds <= 0
            ? ""
            : fmt::format("  {:.1f} MB/s", static_cast<double>(progress.done) / seconds / 1e6);
    fmt::print(stderr, "\r\033[K{} {} {:3.0f}%{}  {:.0f} s left", progress.stage, progress.source,
               100 * share, rate, left);
    shown_ = true;
  }
  ~BuildMeter() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::string stage_;
  std::chrono::steady_clock::time_point start_;
};

bool is_token_file(const std::filesystem::path& path) {
  return std::filesystem::exists(data::idx_path(path)) &&
         std::filesystem::exists(data::bin_path(path));
}

std::optional<std::filesystem::path> named_tokenizer(const config::RunConfig& config) {
  if (config.data.tokenizer) return config.data.tokenizer;
  if (config.model.from) return *config.model.from / "tokenizer.json";
  return std::nullopt;
}

data::BuildOptions build_options(const config::RunConfig& config) {
  data::BuildOptions options;
  options.directory = config.data.cache.value_or(config.run_directory() / "data");
  options.text_key = config.data.text_field;
  options.tokenizer = named_tokenizer(config);
  if (config.data.vocabulary) {
    options.vocabulary = static_cast<std::int32_t>(*config.data.vocabulary);
  }
  for (const config::DataSource& source : config.data.sources) {
    if (!is_token_file(source.path)) options.sources.push_back({source.name, source.path.string()});
  }
  return options;
}

void report(const data::BuiltCorpus& built) {
  for (const data::BuiltSource& source : built.sources) {
    log::info("source {}: {} documents, {} tokens from {:.1f} MB of text{}", source.name,
              source.documents, source.tokens, static_cast<double>(source.bytes) / 1e6,
              source.reused ? " (built before)" : "");
  }
}

// The prefix of each source's token files, in the run file's order.
std::vector<std::filesystem::path> prefixes_of(const config::RunConfig& config,
                                               const data::BuiltCorpus& built) {
  std::vector<std::filesystem::path> prefixes;
  std::size_t next = 0;
  for (const config::DataSource& source : config.data.sources) {
    prefixes.push_back(is_token_file(source.path) ? source.path : built.sources[next++].prefix);
  }
  return prefixes;
}

// Sequences that a source may give.
std::uint64_t limit_of(const config::DataSource& source, const data::Dataset& dataset) {
  if (!source.max_epochs) return data::MixtureSchedule::kEndless;
  return static_cast<std::uint64_t>(
      std::ceil(*source.max_epochs * static_cast<double>(dataset.sequences())));
}

void check_length(const data::MixtureSchedule& schedule, const config::RunConfig& config,
                  std::int64_t sequences_per_step) {
  const std::uint64_t steps = schedule.sequences() / static_cast<std::uint64_t>(sequences_per_step);
  require_input(steps >= static_cast<std::uint64_t>(config::total_steps(config)),
                "the data ends after step {} of {}: every source has been read max_epochs times "
                "then; raise max_epochs, or lower train.steps",
                steps, config::total_steps(config));
}

}  // namespace

void check_sources(const config::RunConfig& config) {
  for (const config::DataSource& source : config.data.sources) {
    if (!is_token_file(source.path)) data::expand_path(source.path.string());
  }
  const std::optional<std::filesystem::path> tokenizer = named_tokenizer(config);
  if (!tokenizer) return;
  require_input(std::filesystem::exists(*tokenizer),
                "{}: no such file; data.tokenizer names the tokenizer.json to use",
                tokenizer->string());
  data::load_tokenizer(*tokenizer);
}

std::int64_t planned_vocabulary(const config::RunConfig& config) {
  if (config.data.tokenizer) {
    const bool there = std::filesystem::exists(*config.data.tokenizer);
    if (!there && config.model.vocabulary) return 1;  // the model's own size decides
    return data::load_tokenizer(*config.data.tokenizer).vocabulary_size();
  }
  if (config.model.from) {
    const std::filesystem::path path = *config.model.from / "tokenizer.json";
    if (std::filesystem::exists(path)) return data::load_tokenizer(path).vocabulary_size();
  }
  return config.data.vocabulary.value_or(1);
}

Corpus prepare_corpus(const config::RunConfig& config) {
  Corpus corpus;
  data::BuildOptions options = build_options(config);
  data::BuiltCorpus built;
  if (!options.sources.empty()) {
    BuildMeter meter;
    options.progress = [&meter](const data::BuildProgress& p) { meter(p); };
    built = data::build_corpus(options);
    corpus.tokenizer_path = built.tokenizer;
  } else {
    require_input(options.tokenizer.has_value(),
                  "data.tokenizer is missing: token files (.bin/.idx) need the tokenizer.json that "
                  "made them");
    corpus.tokenizer_path = *options.tokenizer;
  }
  report(built);
  corpus.tokenizer =
      std::make_shared<const data::Tokenizer>(data::load_tokenizer(corpus.tokenizer_path));
  corpus.vocabulary = corpus.tokenizer->vocabulary_size();

  std::vector<std::shared_ptr<const data::SequenceSource>> sources;
  std::vector<std::uint64_t> limits;
  const std::vector<std::filesystem::path> prefixes = prefixes_of(config, built);
  for (std::size_t i = 0; i < prefixes.size(); ++i) {
    const auto tokens =
        std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefixes[i]));
    const data::Split split =
        data::split_documents(*tokens, *config.data.seed, config.data.validation_fraction);
    data::DatasetOptions dataset;
    dataset.sequence_length = config.data.sequence_length;
    dataset.end_of_text = corpus.tokenizer->end_of_text();
    dataset.vocabulary = corpus.vocabulary;
    dataset.seed = *config.data.seed;
    dataset.source = static_cast<std::uint32_t>(i);
    dataset.packing = config.data.packing == config::Packing::best_fit ? data::Packing::best_fit
                                                                       : data::Packing::concatenate;
    const auto training = std::make_shared<const data::Dataset>(tokens, split.train, dataset);
    corpus.training_tokens += training->tokens();
    log::info("source {}: {} sequences an epoch, {:.2f}% of them padding",
              config.data.sources[i].name, training->sequences(), 100 * training->padding());
    sources.push_back(training);
    limits.push_back(limit_of(config.data.sources[i], *training));
    if (split.validation.documents.empty()) continue;
    dataset.order = data::Order::corpus;
    dataset.packing = data::Packing::concatenate;
    dataset.tail = data::Tail::pad;
    corpus.validation.push_back(
        {config.data.sources[i].name,
         std::make_shared<const data::Dataset>(tokens, split.validation, dataset)});
  }
  const std::int64_t step = *config.train.global_batch_size;
  data::MixtureSchedule schedule(mixture_stages(config.data.sources, step), limits);
  check_length(schedule, config, step);
  corpus.training = std::make_shared<const data::Mixture>(std::move(sources), std::move(schedule));
  return corpus;
}

std::shared_ptr<const data::Dataset> open_for_evaluation(const std::filesystem::path& path,
                                                         const std::filesystem::path& tokenizer,
                                                         std::int64_t sequence_length,
                                                         const std::filesystem::path& work) {
  std::filesystem::path prefix = path;
  if (!is_token_file(path)) {
    data::BuildOptions options;
    options.directory = work;
    options.tokenizer = tokenizer;
    options.sources = {{"evaluation", path.string()}};
    BuildMeter meter;
    options.progress = [&meter](const data::BuildProgress& p) { meter(p); };
    prefix = data::build_corpus(options).sources.front().prefix;
  }
  const data::Tokenizer loaded = data::load_tokenizer(tokenizer);
  const auto tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  data::DatasetOptions dataset;
  dataset.sequence_length = sequence_length;
  dataset.end_of_text = loaded.end_of_text();
  dataset.vocabulary = loaded.vocabulary_size();
  dataset.order = data::Order::corpus;
  dataset.tail = data::Tail::pad;
  return std::make_shared<const data::Dataset>(tokens, data::all_documents(*tokens), dataset);
}

}  // namespace bessemer::train

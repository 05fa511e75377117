#include "train/corpus.h"

#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "data/build.h"
#include "data/mixture.h"
#include "data/source.h"
#include "data/split.h"
#include "data/tokenizer_file.h"
#include "train/build_meter.h"
#include "train/mixture_stages.h"

namespace bessemer::train {
namespace {

bool is_token_file(const std::filesystem::path& path) {
  return std::filesystem::exists(data::idx_path(path)) &&
         std::filesystem::exists(data::bin_path(path));
}

std::optional<std::filesystem::path> named_tokenizer(const config::RunConfig& config) {
  if (config.data.tokenizer) return config.data.tokenizer;
  if (config.model.from) {
    return data::find_tokenizer(*config.model.from).value_or(*config.model.from / "tokenizer.json");
  }
  return std::nullopt;
}

std::filesystem::path data_directory(const config::RunConfig& config) {
  return config.data.cache.value_or(config.run_directory() / "data");
}

data::BuildOptions build_options(const config::RunConfig& config) {
  data::BuildOptions options;
  options.directory = data_directory(config);
  options.text_key = config.data.text_field;
  options.on_bad_record = config.data.on_bad_record == config::OnBadRecord::skip
                              ? data::OnBadRecord::skip
                              : data::OnBadRecord::stop;
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
    log::info(
        "source {}: {} documents, {} tokens from {:.1f} MB of text{}{}", source.name,
        source.documents, source.tokens, static_cast<double>(source.bytes) / 1e6,
        source.bad_records > 0 ? fmt::format(", {} bad records skipped", source.bad_records) : "",
        source.reused ? " (built before)" : "");
  }
}

// The prefix of each source's token files, in the run file's order.
std::vector<std::filesystem::path> prefixes_of(const config::RunConfig& config) {
  std::vector<std::filesystem::path> prefixes;
  for (const config::DataSource& source : config.data.sources) {
    const bool given = is_token_file(source.path);
    prefixes.push_back(given ? source.path : data_directory(config) / source.name);
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

data::DatasetOptions dataset_options(const config::RunConfig& config,
                                     const data::Tokenizer& tokenizer, std::size_t source) {
  data::DatasetOptions options;
  options.sequence_length = config.data.sequence_length;
  options.end_of_text = tokenizer.end_of_text();
  options.vocabulary = tokenizer.vocabulary_size();
  options.seed = *config.data.seed;
  options.source = static_cast<std::uint32_t>(source);
  options.packing = config.data.packing == config::Packing::best_fit ? data::Packing::best_fit
                                                                     : data::Packing::concatenate;
  options.layouts = data_directory(config) / config.data.sources[source].name;
  return options;
}

// Every document once, in order, none left out.
data::DatasetOptions for_evaluation(data::DatasetOptions options) {
  options.order = data::Order::corpus;
  options.packing = data::Packing::concatenate;
  options.tail = data::Tail::pad;
  return options;
}

std::shared_ptr<const data::Mixture> mix(const config::RunConfig& config,
                                         const std::vector<TrainingSource>& sources) {
  std::vector<std::shared_ptr<const data::SequenceSource>> datasets;
  std::vector<std::uint64_t> limits;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    datasets.push_back(sources[i].dataset);
    limits.push_back(limit_of(config.data.sources[i], *sources[i].dataset));
  }
  const std::int64_t step = *config.train.global_batch_size;
  data::MixtureSchedule schedule(mixture_stages(config.data.sources, step), limits);
  check_length(schedule, config, step);
  return std::make_shared<const data::Mixture>(std::move(datasets), std::move(schedule));
}

// A source of the run file: what trains, and what is kept out.
struct OpenedSource {
  TrainingSource training;
  data::DocumentSet validation;
  data::DatasetOptions options;
};

OpenedSource open_source(const config::RunConfig& config, const data::Tokenizer& tokenizer,
                         std::size_t index, const std::filesystem::path& prefix) {
  OpenedSource source;
  source.options = dataset_options(config, tokenizer, index);
  const auto tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  data::Split split =
      data::split_documents(*tokens, *config.data.seed, config.data.validation_fraction);
  source.validation = std::move(split.validation);
  source.training = {
      config.data.sources[index].name, prefix, tokens,
      std::make_shared<const data::Dataset>(tokens, std::move(split.train), source.options)};
  return source;
}

// What lies in the token files, as the run file wants it.
Corpus assemble(const config::RunConfig& config, const std::filesystem::path& tokenizer,
                const std::vector<std::filesystem::path>& prefixes) {
  Corpus corpus;
  corpus.tokenizer_path = tokenizer;
  corpus.tokenizer = std::make_shared<const data::Tokenizer>(data::load_tokenizer(tokenizer));
  corpus.vocabulary = corpus.tokenizer->vocabulary_size();
  for (std::size_t i = 0; i < prefixes.size(); ++i) {
    OpenedSource source = open_source(config, *corpus.tokenizer, i, prefixes[i]);
    const TrainingSource& training = source.training;
    corpus.training_tokens += training.dataset->tokens();
    if (!source.validation.empty()) {
      corpus.validation.push_back({training.name, std::make_shared<const data::Dataset>(
                                                      training.tokens, std::move(source.validation),
                                                      for_evaluation(source.options))});
    }
    corpus.sources.push_back(std::move(source.training));
  }
  corpus.training = mix(config, corpus.sources);
  return corpus;
}

// Of a run that has been prepared.
std::filesystem::path tokenizer_of(const config::RunConfig& config) {
  const data::BuildOptions options = build_options(config);
  if (options.sources.empty()) return *options.tokenizer;
  const auto tokenizer = data::find_tokenizer(options.directory);
  require_input(tokenizer.has_value(), "{}: no tokenizer there; the data are not built",
                options.directory.string());
  return *tokenizer;
}

}  // namespace

void check_sources(const config::RunConfig& config) {
  for (const config::DataSource& source : config.data.sources) {
    if (!is_token_file(source.path)) data::expand_path(source.path.string());
  }
  const std::optional<std::filesystem::path> tokenizer = named_tokenizer(config);
  if (!tokenizer) return;
  require_input(std::filesystem::exists(*tokenizer),
                "{}: no such file; data.tokenizer names the tokenizer to use", tokenizer->string());
  data::load_tokenizer(*tokenizer);
}

std::int64_t planned_vocabulary(const config::RunConfig& config) {
  if (config.data.tokenizer) {
    const bool there = std::filesystem::exists(*config.data.tokenizer);
    if (!there && config.model.vocabulary) return 1;  // the model's own size decides
    return data::load_tokenizer(*config.data.tokenizer).vocabulary_size();
  }
  if (config.model.from) {
    const auto path = data::find_tokenizer(*config.model.from);
    if (path) return data::load_tokenizer(*path).vocabulary_size();
  }
  return config.data.vocabulary.value_or(1);
}

Corpus prepare_corpus(const config::RunConfig& config) {
  const data::BuildOptions options = build_options(config);
  data::BuiltCorpus built;
  if (!options.sources.empty()) {
    built = build_shown(options);
  } else {
    require_input(options.tokenizer.has_value(),
                  "data.tokenizer is missing: token files (.bin/.idx) need the tokenizer that made "
                  "them");
    built.tokenizer = *options.tokenizer;
  }
  report(built);
  Corpus corpus = assemble(config, built.tokenizer, prefixes_of(config));
  for (const TrainingSource& source : corpus.sources) {
    log::info("source {}: {} sequences an epoch, {:.2f}% of them padding", source.name,
              source.dataset->sequences(), 100 * source.dataset->padding());
  }
  return corpus;
}

Corpus open_corpus(const config::RunConfig& config) {
  return assemble(config, tokenizer_of(config), prefixes_of(config));
}

std::shared_ptr<const data::SequenceSource> open_training_source(const config::RunConfig& config,
                                                                 std::size_t source) {
  require_input(source < config.data.sources.size(), "source {} of {}", source,
                config.data.sources.size());
  const data::Tokenizer tokenizer = data::load_tokenizer(tokenizer_of(config));
  return open_source(config, tokenizer, source, prefixes_of(config)[source]).training.dataset;
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
    prefix = build_shown(options).sources.front().prefix;
  }
  const data::Tokenizer loaded = data::load_tokenizer(tokenizer);
  const auto tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  data::DatasetOptions dataset;
  dataset.sequence_length = sequence_length;
  dataset.end_of_text = loaded.end_of_text();
  dataset.vocabulary = loaded.vocabulary_size();
  dataset.layouts = work / "evaluation";
  return std::make_shared<const data::Dataset>(tokens, data::all_documents(*tokens),
                                               for_evaluation(dataset));
}

}  // namespace bessemer::train

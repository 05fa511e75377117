#include "train/corpus.h"

#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "data/build.h"
#include "data/mixture.h"
#include "data/source.h"
#include "data/tokenizer_file.h"
#include "train/build_meter.h"
#include "train/mixture_stages.h"

namespace bessemer::train {
namespace {

void report(const data::BuiltCorpus& built) {
  for (const data::BuiltSource& source : built.sources) {
    log::info(
        "source {}: {} documents, {} tokens{} from {:.1f} MB of text{}{}", source.name,
        source.documents, source.tokens,
        source.trained < source.tokens ? fmt::format(", {} of them trained", source.trained) : "",
        static_cast<double>(source.bytes) / 1e6,
        source.bad_records > 0 ? fmt::format(", {} bad records skipped", source.bad_records) : "",
        source.reused ? " (built before)" : "");
  }
}

// Sequences that a source may give.
std::uint64_t limit_of(const config::DataSource& source, const TrainingSource& training) {
  if (!source.max_epochs) return data::MixtureSchedule::kEndless;
  return static_cast<std::uint64_t>(
      std::ceil(*source.max_epochs * static_cast<double>(training.epoch())));
}

void check_length(const data::MixtureSchedule& schedule, const config::RunConfig& config,
                  std::int64_t sequences_per_step) {
  const std::uint64_t steps = schedule.sequences() / static_cast<std::uint64_t>(sequences_per_step);
  require_input(steps >= static_cast<std::uint64_t>(config::total_steps(config)),
                "the data ends after step {} of {}: every source has been read max_epochs times "
                "then; raise max_epochs, or lower train.steps",
                steps, config::total_steps(config));
}

std::shared_ptr<const data::Mixture> mix(const config::RunConfig& config,
                                         const std::vector<TrainingSource>& sources) {
  std::vector<std::shared_ptr<const data::SequenceSource>> datasets;
  std::vector<std::uint64_t> limits;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    datasets.push_back(sources[i].sequences());
    limits.push_back(limit_of(config.data.sources[i], sources[i]));
  }
  const std::int64_t step = *config.train.global_batch_size;
  data::MixtureSchedule schedule(mixture_stages(config.data.sources, step), limits);
  check_length(schedule, config, step);
  return std::make_shared<const data::Mixture>(std::move(datasets), std::move(schedule));
}

// All sources, as the run file wants them.
Corpus assemble(const config::RunConfig& config, const std::filesystem::path& tokenizer,
                RawUse use) {
  const LoadedTokenizer loaded = load(tokenizer);
  Corpus corpus;
  corpus.tokenizer_path = loaded.path;
  corpus.tokenizer = loaded.tokenizer;
  corpus.vocabulary = loaded.ids().vocabulary;
  for (std::size_t i = 0; i < config.data.sources.size(); ++i) {
    OpenedSource source = open_source(config, loaded, i, use);
    const TrainingSource& training = source.training;
    if (training.dataset) corpus.training_tokens += training.dataset->tokens();
    if (!source.validation.empty()) {
      corpus.validation.push_back(
          {training.name, std::make_shared<const data::Dataset>(
                              source.validation_tokens, std::move(source.validation),
                              for_evaluation(source.options), source.validation_loss)});
    }
    corpus.sources.push_back(std::move(source.training));
  }
  corpus.training = mix(config, corpus.sources);
  return corpus;
}

}  // namespace

void check_sources(const config::RunConfig& config) {
  for (const config::DataSource& source : config.data.sources) {
    const bool raw = is_raw(source);
    if (is_token_file(source.path)) {
      require_input(!raw, "source {}: {} are tokens already; tokenize = \"on_the_fly\" is for text",
                    source.name, data::bin_path(source.path).string());
      continue;
    }
    const auto files = data::expand_path(source.path.string());
    if (raw) data::RawSource::check(source.name, files);
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
  Corpus corpus = assemble(config, built.tokenizer, RawUse::prepare);
  for (const TrainingSource& source : corpus.sources) {
    if (source.raw) {
      log::info("source {}: {} documents in {} blocks, tokenized as they are read", source.name,
                source.raw->source().table().records, source.raw->source().table().blocks.size());
      continue;
    }
    log::info("source {}: {} sequences an epoch, {:.2f}% of them padding", source.name,
              source.dataset->sequences(), 100 * source.dataset->padding());
  }
  return corpus;
}

Corpus open_corpus(const config::RunConfig& config) {
  return assemble(config, tokenizer_of(config), RawUse::look_at);
}

void reach(const Corpus& corpus, std::uint64_t sequence) {
  const std::vector<std::uint64_t> turns = corpus.training->schedule().turns(sequence);
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (corpus.sources[i].raw) corpus.sources[i].raw->reach(turns[i]);
  }
}

void forget_blocks(const Corpus& corpus) {
  for (const TrainingSource& source : corpus.sources) {
    if (source.raw) source.raw->forget_blocks();
  }
}

std::shared_ptr<const data::Dataset> open_for_evaluation(const EvaluationData& data,
                                                         const std::filesystem::path& work) {
  std::filesystem::path prefix = data.source.path;
  if (!is_token_file(prefix)) {
    data::BuildOptions options;
    options.directory = work;
    options.tokenizer = data.tokenizer;
    options.text_key = data.text_key;
    options.sources = {data.source};
    prefix = build_shown(options).sources.front().prefix;
  }
  const data::Tokenizer loaded = data::load_tokenizer(data.tokenizer);
  const auto tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  data::DatasetOptions dataset;
  dataset.sequence_length = data.sequence_length;
  dataset.end_of_text = loaded.end_of_text();
  dataset.vocabulary = loaded.vocabulary_size();
  dataset.layouts = work / data.source.name;
  return std::make_shared<const data::Dataset>(tokens, data::all_documents(*tokens),
                                               for_evaluation(dataset),
                                               data::LossMask::open(prefix, tokens->tokens()));
}

}  // namespace bessemer::train

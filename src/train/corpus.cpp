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

bool is_raw(const config::DataSource& source) {
  return source.tokenize == config::Tokenize::on_the_fly;
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

data::CorpusSource corpus_source(const config::DataSource& source) {
  data::CorpusSource corpus{source.name, source.path.string()};
  switch (source.format) {
    case config::SourceFormat::automatic: corpus.format = data::SourceFormat::automatic; break;
    case config::SourceFormat::text: corpus.format = data::SourceFormat::text; break;
    case config::SourceFormat::messages: corpus.format = data::SourceFormat::messages; break;
  }
  corpus.chat_template = source.chat_template;
  return corpus;
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
    if (!is_raw(source) && !is_token_file(source.path))
      options.sources.push_back(corpus_source(source));
  }
  return options;
}

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

data::DatasetOptions dataset_options(const config::RunConfig& config, const TokenIds& ids,
                                     std::size_t source) {
  data::DatasetOptions options;
  options.sequence_length = config.data.sequence_length;
  options.end_of_text = ids.end_of_text;
  options.vocabulary = ids.vocabulary;
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
    datasets.push_back(sources[i].sequences());
    limits.push_back(limit_of(config.data.sources[i], sources[i]));
  }
  const std::int64_t step = *config.train.global_batch_size;
  data::MixtureSchedule schedule(mixture_stages(config.data.sources, step), limits);
  check_length(schedule, config, step);
  return std::make_shared<const data::Mixture>(std::move(datasets), std::move(schedule));
}

// What is done with raw sources.
enum class RawUse {
  prepare,  // they are read through where they were not before; what is learned is written down
  read,     // they were prepared; what is learned is written down
  look_at   // they were prepared; nothing is written
};

// A source of the run file: what trains, and what is kept out.
struct OpenedSource {
  TrainingSource training;
  std::shared_ptr<const data::IndexedDataset> validation_tokens;
  data::DocumentSet validation;
  std::shared_ptr<const data::LossMask> validation_loss;
  data::DatasetOptions options;
};

std::shared_ptr<const data::RawDataset> open_raw(const config::RunConfig& config,
                                                 const Corpus& corpus, std::size_t index,
                                                 RawUse use) {
  const data::BuildOptions build = build_options(config);
  data::RawSourceOptions options;
  options.source = corpus_source(config.data.sources[index]);
  options.directory = build.directory;
  options.text_key = build.text_key;
  options.on_bad_record = build.on_bad_record;
  options.tokenizer_path = corpus.tokenizer_path;
  options.tokenizer = corpus.tokenizer;
  options.validation_fraction = config.data.validation_fraction;
  options.dataset = dataset_options(config, corpus.ids(), index);
  BuildMeter meter;
  options.progress = [&meter](const data::BuildProgress& p) { meter(p); };
  const auto source =
      use == RawUse::prepare ? data::RawSource::prepare(options) : data::RawSource::open(options);
  using Access = data::BlockCounts::Access;
  const Access access = use == RawUse::look_at ? Access::read_only : Access::extend;
  return std::make_shared<const data::RawDataset>(source, access);
}

OpenedSource open_raw_source(const config::RunConfig& config, const Corpus& corpus,
                             std::size_t index, RawUse use) {
  OpenedSource opened;
  opened.training.raw = open_raw(config, corpus, index, use);
  const data::RawSource& source = opened.training.raw->source();
  opened.training.name = source.name();
  opened.training.prefix = source.prefix();
  opened.options = source.options().dataset;
  const std::filesystem::path prefix = source.validation_prefix();
  if (!is_token_file(prefix)) return opened;
  opened.validation_tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  opened.validation = data::all_documents(*opened.validation_tokens);
  opened.validation_loss = data::LossMask::open(prefix, opened.validation_tokens->tokens());
  return opened;
}

OpenedSource open_token_files(const config::RunConfig& config, const TokenIds& ids,
                              std::size_t index) {
  OpenedSource opened;
  opened.options = dataset_options(config, ids, index);
  const std::filesystem::path prefix = prefixes_of(config)[index];
  const auto tokens =
      std::make_shared<const data::IndexedDataset>(data::IndexedDataset::open(prefix));
  const auto loss = data::LossMask::open(prefix, tokens->tokens());
  const data::Split split =
      data::split_documents(*tokens, *config.data.seed, config.data.validation_fraction);
  opened.training = {
      config.data.sources[index].name, prefix, tokens,
      std::make_shared<const data::Dataset>(tokens, split.train, opened.options, loss), loss};
  opened.validation_tokens = tokens;
  opened.validation = split.validation;
  opened.validation_loss = loss;
  return opened;
}

// `corpus` has its tokenizer.
OpenedSource open_source(const config::RunConfig& config, const Corpus& corpus, std::size_t index,
                         RawUse use) {
  return is_raw(config.data.sources[index]) ? open_raw_source(config, corpus, index, use)
                                            : open_token_files(config, corpus.ids(), index);
}

// Without sources yet.
Corpus with_tokenizer(const std::filesystem::path& path) {
  Corpus corpus;
  corpus.tokenizer_path = path;
  corpus.tokenizer = std::make_shared<const data::Tokenizer>(data::load_tokenizer(path));
  corpus.vocabulary = corpus.tokenizer->vocabulary_size();
  return corpus;
}

// All sources, as the run file wants them.
Corpus assemble(const config::RunConfig& config, const std::filesystem::path& tokenizer,
                RawUse use) {
  Corpus corpus = with_tokenizer(tokenizer);
  for (std::size_t i = 0; i < config.data.sources.size(); ++i) {
    OpenedSource source = open_source(config, corpus, i, use);
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

std::shared_ptr<const data::SequenceSource> open_training_source(const config::RunConfig& config,
                                                                 std::size_t source,
                                                                 const TokenIds& ids) {
  require_input(source < config.data.sources.size(), "source {} of {}", source,
                config.data.sources.size());
  if (!is_raw(config.data.sources[source])) {
    return open_token_files(config, ids, source).training.sequences();
  }
  const Corpus corpus = with_tokenizer(tokenizer_of(config));
  return open_raw_source(config, corpus, source, RawUse::read).training.sequences();
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

#include "train/training_source.h"

#include "base/error.h"
#include "data/split.h"
#include "data/tokenizer_file.h"
#include "train/build_meter.h"

namespace bessemer::train {
namespace {

std::shared_ptr<const data::RawDataset> open_raw(const config::RunConfig& config,
                                                 const LoadedTokenizer& tokenizer,
                                                 std::size_t index, RawUse use) {
  const data::BuildOptions build = build_options(config);
  data::RawSourceOptions options;
  options.source = corpus_source(config.data.sources[index]);
  options.directory = build.directory;
  options.text_key = build.text_key;
  options.on_bad_record = build.on_bad_record;
  options.tokenizer_path = tokenizer.path;
  options.tokenizer = tokenizer.tokenizer;
  options.validation_fraction = config.data.validation_fraction;
  options.dataset = dataset_options(config, tokenizer.ids(), index);
  BuildMeter meter;
  options.progress = [&meter](const data::BuildProgress& p) { meter(p); };
  const auto source =
      use == RawUse::prepare ? data::RawSource::prepare(options) : data::RawSource::open(options);
  using Access = data::BlockCounts::Access;
  const Access access = use == RawUse::look_at ? Access::read_only : Access::extend;
  return std::make_shared<const data::RawDataset>(source, access);
}

OpenedSource open_raw_source(const config::RunConfig& config, const LoadedTokenizer& tokenizer,
                             std::size_t index, RawUse use) {
  OpenedSource opened;
  opened.training.raw = open_raw(config, tokenizer, index, use);
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

}  // namespace

LoadedTokenizer load(const std::filesystem::path& tokenizer) {
  return {tokenizer, std::make_shared<const data::Tokenizer>(data::load_tokenizer(tokenizer))};
}

OpenedSource open_source(const config::RunConfig& config, const LoadedTokenizer& tokenizer,
                         std::size_t index, RawUse use) {
  return is_raw(config.data.sources[index]) ? open_raw_source(config, tokenizer, index, use)
                                            : open_token_files(config, tokenizer.ids(), index);
}

std::shared_ptr<const data::SequenceSource> open_training_source(const config::RunConfig& config,
                                                                 std::size_t source,
                                                                 const TokenIds& ids) {
  require_input(source < config.data.sources.size(), "source {} of {}", source,
                config.data.sources.size());
  const OpenedSource opened =
      is_raw(config.data.sources[source])
          ? open_raw_source(config, load(tokenizer_of(config)), source, RawUse::read)
          : open_token_files(config, ids, source);
  return opened.training.sequences();
}

}  // namespace bessemer::train

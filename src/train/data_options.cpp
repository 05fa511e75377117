#include "train/data_options.h"

#include "base/error.h"
#include "data/tokenizer_file.h"

namespace bessemer::train {
namespace {

std::filesystem::path data_directory(const config::RunConfig& config) {
  return config.data.cache.value_or(config.run_directory() / "data");
}

}  // namespace

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
    const bool built = !is_raw(source) && !is_token_file(source.path);
    if (built) options.sources.push_back(corpus_source(source));
  }
  return options;
}

std::filesystem::path tokenizer_of(const config::RunConfig& config) {
  const data::BuildOptions options = build_options(config);
  if (options.sources.empty()) return *options.tokenizer;
  const auto tokenizer = data::find_tokenizer(options.directory);
  require_input(tokenizer.has_value(), "{}: no tokenizer there; the data are not built",
                options.directory.string());
  return *tokenizer;
}

std::vector<std::filesystem::path> prefixes_of(const config::RunConfig& config) {
  std::vector<std::filesystem::path> prefixes;
  for (const config::DataSource& source : config.data.sources) {
    const bool given = is_token_file(source.path);
    prefixes.push_back(given ? source.path : data_directory(config) / source.name);
  }
  return prefixes;
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

data::DatasetOptions for_evaluation(data::DatasetOptions options) {
  options.order = data::Order::corpus;
  options.packing = data::Packing::concatenate;
  options.tail = data::Tail::pad;
  return options;
}

}  // namespace bessemer::train

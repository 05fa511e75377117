// What the run file's [data] means to the rooms below: where files are, how they are read, built
// and packed. Nothing is opened here but to see whether it is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "config/run_config.h"
#include "data/build.h"
#include "data/dataset.h"

namespace bessemer::train {

/// What reading token files needs of the tokenizer that made them.
struct TokenIds {
  std::int32_t end_of_text = 0;
  std::int32_t vocabulary = 0;  // one more than the highest id
};

/// Whether a path is the prefix of token files that are there.
bool is_token_file(const std::filesystem::path& path);

/// Whether a source is tokenized on the fly.
bool is_raw(const config::DataSource& source);

/// The tokenizer that the run file or its model names; nothing where one is trained.
std::optional<std::filesystem::path> named_tokenizer(const config::RunConfig& config);

data::CorpusSource corpus_source(const config::DataSource& source);

/// Of the sources that are tokenized ahead and are not token files already.
data::BuildOptions build_options(const config::RunConfig& config);

/// The tokenizer of a run whose data are built. InputError where there is none.
std::filesystem::path tokenizer_of(const config::RunConfig& config);

/// The prefix of each source's token files, in the run file's order.
std::vector<std::filesystem::path> prefixes_of(const config::RunConfig& config);

data::DatasetOptions dataset_options(const config::RunConfig& config, const TokenIds& ids,
                                     std::size_t source);

/// The same with every document once, in order, none left out.
data::DatasetOptions for_evaluation(data::DatasetOptions options);

}  // namespace bessemer::train

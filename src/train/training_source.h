// One source of a run, opened: token files, or text that is tokenized on the fly.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "config/run_config.h"
#include "data/dataset.h"
#include "data/raw_dataset.h"
#include "data/tokenizer.h"
#include "train/data_options.h"

namespace bessemer::train {

/// A source of the run file with the documents that train: token files, or raw.
struct TrainingSource {
  std::string name;
  std::filesystem::path prefix;  // of its token files
  std::shared_ptr<const data::IndexedDataset> tokens;
  std::shared_ptr<const data::Dataset> dataset;
  std::shared_ptr<const data::LossMask> loss;   // null: all tokens are trained
  std::shared_ptr<const data::RawDataset> raw;  // tokenized on the fly; then none of the above

  std::shared_ptr<const data::SequenceSource> sequences() const {
    if (raw) return raw;
    return dataset;
  }
  /// Of an epoch. Of a raw source, this may have to tokenize all of it.
  std::uint64_t epoch() const { return raw ? raw->sequences() : dataset->sequences(); }
};

/// What is done with raw sources.
enum class RawUse {
  prepare,  // they are read through where they were not before; what is learned is written down
  read,     // they were prepared; what is learned is written down
  look_at   // they were prepared; nothing is written
};

/// A source of the run file: what trains, and what is kept out.
struct OpenedSource {
  TrainingSource training;
  std::shared_ptr<const data::IndexedDataset> validation_tokens;
  data::DocumentSet validation;
  std::shared_ptr<const data::LossMask> validation_loss;
  data::DatasetOptions options;
};

struct LoadedTokenizer {
  std::filesystem::path path;
  std::shared_ptr<const data::Tokenizer> tokenizer;

  TokenIds ids() const { return {tokenizer->end_of_text(), tokenizer->vocabulary_size()}; }
};
LoadedTokenizer load(const std::filesystem::path& tokenizer);

/// InputError where a file of the source is not there, or not good.
OpenedSource open_source(const config::RunConfig& config, const LoadedTokenizer& tokenizer,
                         std::size_t index, RawUse use);

/// One source of a run that has been prepared, as it trains: for a process that reads nothing else.
/// The tokenizer is loaded only where it is tokenized on the fly; what is learned of such a source
/// is written down for the others.
std::shared_ptr<const data::SequenceSource> open_training_source(const config::RunConfig& config,
                                                                 std::size_t source,
                                                                 const TokenIds& ids);

}  // namespace bessemer::train

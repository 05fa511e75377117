// The data of a run: from the run file's [data] to a loader's sequences.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/dataset.h"
#include "data/mixture.h"
#include "data/tokenizer.h"
#include "train/training_source.h"

namespace bessemer::train {

struct ValidationSource {
  std::string name;
  std::shared_ptr<const data::Dataset> dataset;
};

struct Corpus {
  std::filesystem::path tokenizer_path;
  std::shared_ptr<const data::Tokenizer> tokenizer;
  std::vector<TrainingSource> sources;            // in the run file's order
  std::shared_ptr<const data::Mixture> training;  // all of them, mixed by weight
  std::vector<ValidationSource> validation;       // sources that keep documents out
  std::uint64_t training_tokens = 0;              // of one epoch of every source that is not raw
  std::int32_t vocabulary = 0;                    // one more than the highest id

  TokenIds ids() const { return {tokenizer->end_of_text(), vocabulary}; }
};

/// InputError where a source or the tokenizer is not there, or the tokenizer is broken. Writes
/// nothing.
void check_sources(const config::RunConfig& config);

/// The vocabulary as far as it is known before the data is read: where the tokenizer is still to be
/// trained, the one asked for.
std::int64_t planned_vocabulary(const config::RunConfig& config);

/// Builds (or reuses) tokenizer and token files and opens them. Where the run names no tokenizer,
/// one is trained. Shows progress on standard error. InputError for anything wrong with the data.
Corpus prepare_corpus(const config::RunConfig& config);

/// The corpus of a run that has been prepared, as it was then: sources are not looked at, nothing
/// is written. InputError where its files are not there.
Corpus open_corpus(const config::RunConfig& config);

/// Finds where sources that are tokenized on the fly go on at this sequence of the mixture. Where
/// it was not reached before that means tokenizing what is in front of it, which takes longer than
/// a loader waits for a sequence.
void reach(const Corpus& corpus, std::uint64_t sequence);

/// Gives back memory that only reading the sources here takes: for who lets other processes read.
void forget_blocks(const Corpus& corpus);

/// What `bessemer eval` reads.
struct EvaluationData {
  data::CorpusSource source;  // text, JSONL, or the prefix of token files
  std::string text_key = "text";
  std::filesystem::path tokenizer;
  std::int64_t sequence_length = 0;
};

/// One dataset over all documents of the source, in the corpus's order. `work` is a directory for
/// its token files.
std::shared_ptr<const data::Dataset> open_for_evaluation(const EvaluationData& data,
                                                         const std::filesystem::path& work);

}  // namespace bessemer::train

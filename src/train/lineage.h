// What a step reads, told without reading it again: from a step's number to documents and bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "train/corpus.h"
#include "train/delivery.h"

namespace bessemer::train {

/// Consecutive tokens of a sequence that are consecutive in a document.
struct ReadPart {
  std::int64_t sequence = 0;  // of the step, from 0
  std::int64_t offset = 0;    // of the first token in the sequence
  std::int64_t tokens = 0;
  std::string source;
  std::string file;               // the corpus file; the .bin of token files that were given
  std::uint64_t document = 0;     // of the source, from 0
  std::uint64_t file_offset = 0;  // where the document begins in the file, uncompressed: its text,
                                  // or the line of its JSON object
  std::uint64_t byte_begin = 0;   // of the document's text: what the tokens say; the end-of-text
  std::uint64_t byte_end = 0;     // token says nothing
};

/// Of step `step` (from 1), in order. InputError for a step the data does not reach.
std::vector<ReadPart> parts_of_step(const config::RunConfig& config, const Corpus& corpus,
                                    std::int64_t step);

/// Of one rank's part of that step, in its order: by micro-batch. `sequence` still counts over the
/// whole step.
std::vector<ReadPart> parts_of_rank(const config::RunConfig& config, const Corpus& corpus,
                                    std::int64_t step, const RankShape& rank);

}  // namespace bessemer::train

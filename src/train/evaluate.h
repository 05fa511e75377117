// Loss on held-out text.
#pragma once

#include <cstdint>

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "train/step_runner.h"

namespace bessemer::train {

struct Evaluation {
  double loss = 0;           // nats a token
  double perplexity = 0;     // exp(loss)
  double bits_per_byte = 0;  // of the text the tokens stand for: comparable over tokenizers
  std::int64_t tokens = 0;
};

/// Evaluates sequences 0, 1, ... of `dataset` in batches of `sequences`, which the plan's program
/// "evaluate" must be made for; at most `batches` of them (0: all).
Evaluation evaluate(const StepRunner& runner, const data::Dataset& dataset,
                    const data::Tokenizer& tokenizer, std::int64_t sequences, std::int64_t batches);

}  // namespace bessemer::train

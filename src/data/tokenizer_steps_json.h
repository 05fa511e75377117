// The parts of a `tokenizer.json` around its model: normalizer, pre-tokenizer, decoder.
#pragma once

#include <vector>

#include "data/json_node.h"
#include "data/tokenizer_model.h"

namespace bessemer::data {

// Each takes the value of the key of its name, which may be null. InputError names the path of what
// is not supported.

std::vector<NormalizerStep> read_normalizer(const JsonNode& node);

struct PretokenizerJson {
  std::vector<PretokenizerStep> steps;
  bool byte_level = false;  // a ByteLevel step is the last
};
PretokenizerJson read_pretokenizer(const JsonNode& node);

/// For tokenizers that are not byte-level.
StepsDecoder read_decoder(const JsonNode& node);

}  // namespace bessemer::data

// SentencePiece's `tokenizer.model`: a protocol buffer with pieces, scores and a normalizer.
//
// Read here and not by the sentencepiece library, so that all kinds of tokenizer are one plain
// value with one encoder. Ids and decoded texts are those of the library (Unigram and BPE; models
// of words, of characters and BPE with unused pieces are refused). Control pieces (<s>, </s>) are
// never found in a text, as there.
#pragma once

#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace bessemer::data {

/// From the bytes of a file; `name` is for messages. InputError names it and the place.
Tokenizer parse_sentencepiece_model(std::string_view bytes, const std::string& name);

}  // namespace bessemer::data

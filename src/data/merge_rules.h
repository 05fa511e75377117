// The merges of a BPE vocabulary as a table.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "data/bpe.h"
#include "data/token_index.h"
#include "data/tokenizer_model.h"

namespace bessemer::data {

/// What two neighbours that make a token may be: the symbol of a text, -1 where it is none.
using SymbolOf = std::function<std::int32_t(std::string_view)>;

/// Listed pairs: their place in the list is their rank. InputError where one makes no token or is
/// there twice.
MergeTable listed_merges(const TokenizerModel& model, const TokenIndex& index);

/// Every way to cut a token with a rank into two symbols; their rank is that of the token.
/// InputError for a token so long that the file can only be damaged.
MergeTable ranked_merges(const TokenizerModel& model, const SymbolOf& symbol_of);

/// The text that merging works on: bytes in a byte-level vocabulary, pieces elsewhere.
std::string_view merged_text(const TokenizerModel& model, std::int32_t id);

/// For messages: in the byte alphabet where the vocabulary is byte-level.
std::string shown_text(const TokenizerModel& model, std::string_view text);

}  // namespace bessemer::data

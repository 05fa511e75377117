#include "data/merge_rules.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "data/byte_alphabet.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kLongestRanked = 2048;  // bytes of a token; the longest of o200k has 128

}  // namespace

std::string_view merged_text(const TokenizerModel& model, std::int32_t id) {
  const Token& token = model.tokens[static_cast<std::size_t>(id)];
  return model.byte_level() ? token.bytes : token.piece;
}

std::string shown_text(const TokenizerModel& model, std::string_view text) {
  return model.byte_level() ? to_alphabet(text) : std::string(text);
}

TokenIndex::TokenIndex(const TokenizerModel& model) {
  ids_.reserve(model.tokens.size());
  for (std::size_t i = 0; i < model.tokens.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const std::string_view text = merged_text(model, id);
    if (text.empty() || model.tokens[i].literal) continue;
    const auto [other, fresh] = ids_.emplace(text, id);
    if (!fresh && model.byte_level()) {
      fail_input("token {:?} has two ids, {} and {}", shown_text(model, text), other->second, id);
    }
    other->second = id;
  }
}

MergeTable listed_merges(const TokenizerModel& model, const TokenIndex& index) {
  MergeTable table(model.merges.size());
  const auto text_of = [&](std::int32_t id) {
    const bool known = id >= 0 && static_cast<std::size_t>(id) < model.tokens.size();
    const std::string_view text = known ? merged_text(model, id) : std::string_view();
    require_input(!text.empty(), "a merge uses id {}, which is no token", id);
    return text;
  };
  for (std::size_t rank = 0; rank < model.merges.size(); ++rank) {
    const auto [left, right] = model.merges[rank];
    const std::string merged = std::string(text_of(left)) + std::string(text_of(right));
    const std::int32_t result = index.find(merged);
    if (result < 0) {
      fail_input("merge {} makes {:?}, which is no token", rank, shown_text(model, merged));
    }
    if (!table.insert(left, right, {static_cast<std::int32_t>(rank), result})) {
      fail_input("merge {} of {:?} and {:?} is there twice", rank, shown_text(model, text_of(left)),
                 shown_text(model, text_of(right)));
    }
  }
  return table;
}

MergeTable ranked_merges(const TokenizerModel& model, const SymbolOf& symbol_of) {
  struct Found {
    std::int32_t left, right;
    MergeTable::Merge merge;
  };
  std::vector<Found> found;
  for (std::size_t i = 0; i < model.tokens.size(); ++i) {
    const std::int32_t rank = model.ranks[i];
    if (rank < 0) continue;
    const auto id = static_cast<std::int32_t>(i);
    const std::string_view text = merged_text(model, id);
    require_input(text.size() <= kLongestRanked,
                  "the token with id {} has {} bytes, expected at most {}; fetch the file again",
                  id, text.size(), kLongestRanked);
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const std::int32_t left = symbol_of(text.substr(0, cut));
      if (left < 0) continue;
      const std::int32_t right = symbol_of(text.substr(cut));
      if (right >= 0) found.push_back({left, right, {rank, id}});
    }
  }
  MergeTable table(found.size());
  for (const Found& pair : found) table.insert(pair.left, pair.right, pair.merge);
  return table;
}

}  // namespace bessemer::data

// From the text of a token to its id: bytes in a byte-level vocabulary, pieces in the others.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>

namespace bessemer::data {

struct TokenizerModel;

/// Refers to the tokens of the model it is made from.
class TokenIndex {
 public:
  /// InputError where a byte-level token has two ids. Elsewhere the later one counts.
  explicit TokenIndex(const TokenizerModel& model);

  std::int32_t find(std::string_view text) const {  // -1: no token
    const auto found = ids_.find(text);
    return found == ids_.end() ? -1 : found->second;
  }

 private:
  std::unordered_map<std::string_view, std::int32_t> ids_;
};

}  // namespace bessemer::data

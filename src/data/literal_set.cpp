#include "data/literal_set.h"

#include <algorithm>
#include <functional>

namespace bessemer::data {

bool LiteralSet::insert(std::string_view literal, std::int32_t value) {
  if (!values_.emplace(literal, value).second) return false;
  starts_[static_cast<unsigned char>(literal[0])] = true;
  const auto place =
      std::lower_bound(lengths_.begin(), lengths_.end(), literal.size(), std::greater<>());
  if (place == lengths_.end() || *place != literal.size()) lengths_.insert(place, literal.size());
  return true;
}

std::int32_t LiteralSet::value_of(std::string_view literal) const {
  const auto found = values_.find(literal);
  return found == values_.end() ? -1 : found->second;
}

LiteralSet::Match LiteralSet::longest(std::string_view text) const {
  for (const std::size_t length : lengths_) {
    if (length > text.size()) continue;
    const auto found = values_.find(text.substr(0, length));
    if (found != values_.end()) return {length, found->second};
  }
  return {};
}

std::size_t LiteralSet::find(std::string_view text, std::size_t from, Match& match) const {
  match = {};
  if (empty()) return text.size();
  for (std::size_t at = from; at < text.size(); ++at) {
    match = at_front(text.substr(at));
    if (match.value >= 0) return at;
  }
  return text.size();
}

}  // namespace bessemer::data

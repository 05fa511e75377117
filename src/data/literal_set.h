// A set of strings that is asked which of them stands at a place of a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace bessemer::data {

class LiteralSet {
 public:
  /// The longest literal that `text` begins with; `value` -1: none. Time is in the number of
  /// distinct lengths, where a literal begins with the first byte of the text at all.
  struct Match {
    std::size_t length = 0;
    std::int32_t value = -1;
  };
  Match at_front(std::string_view text) const {
    if (text.empty() || !starts_[static_cast<unsigned char>(text[0])]) return {};
    return longest(text);
  }

  /// The first place from `from` on where a literal stands; text.size() where none does.
  std::size_t find(std::string_view text, std::size_t from, Match& match) const;

  bool empty() const { return values_.empty(); }

  /// False where it is there already. Literals are not empty; values are not negative.
  bool insert(std::string_view literal, std::int32_t value);

  std::int32_t value_of(std::string_view literal) const;  // -1: none

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  Match longest(std::string_view text) const;

  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> values_;
  std::vector<std::size_t> lengths_;  // distinct, longest first
  std::array<bool, 256> starts_{};    // bytes that one begins with
};

}  // namespace bessemer::data

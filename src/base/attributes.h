// Named constants of an op: `{epsilon=1e-05, causal=true}`. A small sorted list, cheap to copy
// and with one canonical printed form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bessemer {

using Attribute = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;

class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<std::string, Attribute>> items);

  /// Adds or replaces.
  void set(std::string_view name, Attribute value);
  void erase(std::string_view name);
  const Attribute* find(std::string_view name) const;
  bool empty() const { return items_.empty(); }
  const std::vector<std::pair<std::string, Attribute>>& items() const { return items_; }

  // Typed reads. With a fallback, an absent attribute gives the fallback; without, it is an
  // Error that names the attribute. A present attribute of another kind is always an Error
  // (an integer is accepted where a real is asked).
  bool boolean(std::string_view name, std::optional<bool> fallback = {}) const;
  std::int64_t integer(std::string_view name, std::optional<std::int64_t> fallback = {}) const;
  double real(std::string_view name, std::optional<double> fallback = {}) const;
  std::string text(std::string_view name, std::optional<std::string> fallback = {}) const;
  std::vector<std::int64_t> integers(std::string_view name,
                                     std::optional<std::vector<std::int64_t>> fallback = {}) const;

  bool operator==(const Attributes&) const = default;

 private:
  std::vector<std::pair<std::string, Attribute>> items_;  // sorted by name
};

/// `true`, `3`, `1e-05`, `"text"`, `[1,2]`. Reals print with the fewest digits that read back to
/// the same value and always carry a '.', an 'e', "inf" or "nan", so that they stay reals.
std::string to_string(const Attribute& value);

/// `{a=1, b="x"}`, or the empty string where there are none.
std::string to_string(const Attributes& attributes);

}  // namespace bessemer

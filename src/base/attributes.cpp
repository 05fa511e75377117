#include "base/attributes.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer {
namespace {

auto position(const std::vector<std::pair<std::string, Attribute>>& items, std::string_view name) {
  return std::lower_bound(items.begin(), items.end(), name,
                          [](const auto& item, std::string_view key) { return item.first < key; });
}

template <typename T>
T read(const Attributes& attributes, std::string_view name, const std::optional<T>& fallback,
       std::string_view kind) {
  const Attribute* found = attributes.find(name);
  if (found == nullptr) {
    require(fallback.has_value(), "attribute '{}' is missing in {}", name, to_string(attributes));
    return *fallback;
  }
  const T* value = std::get_if<T>(found);
  require(value != nullptr, "attribute '{}' is {}, expected {}", name, to_string(*found), kind);
  return *value;
}

std::string quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string real_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

Attributes::Attributes(std::initializer_list<std::pair<std::string, Attribute>> items) {
  for (const auto& [name, value] : items) set(name, value);
}

void Attributes::set(std::string_view name, Attribute value) {
  const auto at = items_.begin() + (position(items_, name) - items_.begin());
  if (at != items_.end() && at->first == name) {
    at->second = std::move(value);
  } else {
    items_.insert(at, {std::string(name), std::move(value)});
  }
}

void Attributes::erase(std::string_view name) {
  std::erase_if(items_, [&](const auto& item) { return item.first == name; });
}

const Attribute* Attributes::find(std::string_view name) const {
  const auto at = position(items_, name);
  return at != items_.end() && at->first == name ? &at->second : nullptr;
}

bool Attributes::boolean(std::string_view name, std::optional<bool> fallback) const {
  return read<bool>(*this, name, fallback, "true or false");
}

std::int64_t Attributes::integer(std::string_view name,
                                 std::optional<std::int64_t> fallback) const {
  return read<std::int64_t>(*this, name, fallback, "an integer");
}

double Attributes::real(std::string_view name, std::optional<double> fallback) const {
  const Attribute* found = find(name);
  if (found != nullptr) {
    if (const auto* integer = std::get_if<std::int64_t>(found)) {
      return static_cast<double>(*integer);
    }
  }
  return read<double>(*this, name, fallback, "a number");
}

std::string Attributes::text(std::string_view name, std::optional<std::string> fallback) const {
  return read<std::string>(*this, name, fallback, "a text");
}

std::vector<std::int64_t> Attributes::integers(
    std::string_view name, std::optional<std::vector<std::int64_t>> fallback) const {
  return read<std::vector<std::int64_t>>(*this, name, fallback, "a list of integers");
}

std::string to_string(const Attribute& value) {
  struct Printer {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(std::int64_t v) const { return fmt::format("{}", v); }
    std::string operator()(double v) const { return real_text(v); }
    std::string operator()(const std::string& v) const { return quote(v); }
    std::string operator()(const std::vector<std::int64_t>& v) const {
      return fmt::format("[{}]", fmt::join(v, ","));
    }
  };
  return std::visit(Printer{}, value);
}

std::string to_string(const Attributes& attributes) {
  if (attributes.empty()) return "";
  std::vector<std::string> parts;
  for (const auto& [name, value] : attributes.items()) {
    parts.push_back(fmt::format("{}={}", name, to_string(value)));
  }
  return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

}  // namespace bessemer

#include "config/value.h"

#include <cmath>

#include <array>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "config/names.h"

namespace bessemer::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
// Larger units first, so that print() takes the first that divides.
constexpr std::array kBinaryUnits = {
    Unit{"TiB", 1ull << 40},
    Unit{"GiB", 1ull << 30},
    Unit{"MiB", 1ull << 20},
    Unit{"KiB", 1ull << 10},
    Unit{"B", 1},
};
constexpr std::array kDecimalUnits = {
    Unit{"TB", 1'000'000'000'000ull},
    Unit{"GB", 1'000'000'000ull},
    Unit{"MB", 1'000'000ull},
    Unit{"KB", 1'000ull},
};

std::optional<std::uint64_t> unit_of(std::string_view name) {
  for (const Unit& unit : kBinaryUnits)
    if (unit.name == name) return unit.bytes;
  for (const Unit& unit : kDecimalUnits)
    if (unit.name == name) return unit.bytes;
  return {};
}

// Both limits keep the count within what print() can write as text and a file can hold.
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62;

}  // namespace

std::string describe(const Value& value) {
  if (!value.raw.empty()) return fmt::format("'{}'", value.raw);
  struct Visitor {
    std::string operator()(std::monostate) const { return "an array, a table or a date"; }
    std::string operator()(bool v) const { return print(v); }
    std::string operator()(std::int64_t v) const { return print(v); }
    std::string operator()(double v) const { return print(v); }
    std::string operator()(const std::string& v) const { return print(std::string_view(v)); }
    std::string operator()(const std::vector<std::string>& v) const {
      std::string text;
      for (const std::string& one : v) {
        text += (text.empty() ? "" : ", ") + print(std::string_view(one));
      }
      return "[" + text + "]";
    }
  };
  return std::visit(Visitor{}, value.scalar);
}

std::string describe(const IntegerRange& range) {
  const bool bounded_below = range.low != std::numeric_limits<std::int64_t>::min();
  const bool bounded_above = range.high != std::numeric_limits<std::int64_t>::max();
  if (bounded_below && bounded_above)
    return fmt::format("an integer from {} to {}", range.low, range.high);
  if (bounded_below) return fmt::format("an integer of at least {}", range.low);
  if (bounded_above) return fmt::format("an integer of at most {}", range.high);
  return "an integer";
}

std::string describe(const RealRange& range) {
  std::string text = "a number";
  if (std::isfinite(range.low))
    text += fmt::format(" {} {}", range.open_low ? "above" : "of at least", range.low);
  if (std::isfinite(range.high)) {
    if (std::isfinite(range.low)) text += " and";
    text += fmt::format(" {} {}", range.open_high ? "below" : "at most", range.high);
  }
  return text;
}

std::optional<std::int64_t> to_integer(const Value& value, const IntegerRange& range) {
  std::optional<std::int64_t> result;
  if (const auto* integer = std::get_if<std::int64_t>(&value.scalar)) result = *integer;
  if (const auto* real = std::get_if<double>(&value.scalar))
    if (std::abs(*real) <= 0x1p53 && std::trunc(*real) == *real)
      result = static_cast<std::int64_t>(*real);
  if (result && (*result < range.low || *result > range.high)) result.reset();
  return result;
}

std::optional<double> to_real(const Value& value, const RealRange& range) {
  std::optional<double> result;
  if (const auto* integer = std::get_if<std::int64_t>(&value.scalar))
    result = static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value.scalar)) result = *real;
  if (!result || !std::isfinite(*result)) return {};
  const bool low_enough = range.open_high ? *result < range.high : *result <= range.high;
  const bool high_enough = range.open_low ? *result > range.low : *result >= range.low;
  if (!low_enough || !high_enough) return {};
  return result;
}

std::optional<bool> to_boolean(const Value& value) {
  if (const auto* boolean = std::get_if<bool>(&value.scalar)) return *boolean;
  return {};
}

std::optional<std::string> to_text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.scalar)) return *text;
  if (!value.raw.empty()) return value.raw;
  return {};
}

std::optional<Device> to_device(const Value& value) {
  const auto text = to_text(value);
  if (!text) return {};
  if (*text == "cpu") return Device{};
  if (*text == "auto") return Device{Device::Kind::automatic, 0};
  if (*text == "cuda") return Device{Device::Kind::cuda, 0};
  constexpr std::string_view kNumbered = "cuda:";
  if (!text->starts_with(kNumbered)) return {};
  int index = -1;
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data() + kNumbered.size(), end, index);
  if (error != std::errc{} || rest != end || index < 0) return {};
  return Device{Device::Kind::cuda, index};
}

std::optional<Bytes> to_bytes(const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value.scalar)) {
    if (*integer < 1 || static_cast<std::uint64_t>(*integer) > kMostBytes) return {};
    return Bytes{static_cast<std::uint64_t>(*integer)};
  }
  const auto* text = std::get_if<std::string>(&value.scalar);
  if (!text) return {};
  const char* const end = text->data() + text->size();
  double number = 0;
  const auto [rest, error] = std::from_chars(text->data(), end, number, std::chars_format::fixed);
  if (error != std::errc{}) return {};
  std::string_view name(rest, static_cast<std::size_t>(end - rest));
  while (name.starts_with(' ')) name.remove_prefix(1);
  const auto unit = unit_of(name);
  if (!unit) return {};
  const double bytes = number * static_cast<double>(*unit);
  if (!(bytes >= 1) || bytes > static_cast<double>(kMostBytes)) return {};
  return Bytes{static_cast<std::uint64_t>(bytes)};
}

namespace {

std::optional<OffloadItem> to_offload_item(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view tier = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (colon != std::string_view::npos && tier.empty()) return {};
  for (const auto& what : kTensorClasses) {
    for (const auto& to : kOffloadTiers) {
      if (text.substr(0, colon) == what.name && tier == to.name) {
        return OffloadItem{what.value, to.value};
      }
    }
  }
  return {};
}

// The parts of "a, b,c" without the blanks around them.
// Takes a number off the front of `text`; false where there is none.
template <typename Number>
bool take(std::string_view& text, Number& number) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  while (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<WeightChange> to_weight_change(std::string_view text) {
  WeightChange change;
  if (!take(text, change.ramp_from)) return {};
  change.from = change.ramp_from;
  if (take(text, '-') && !take(text, change.from)) return {};
  if (!take(text, ':') || !take(text, change.weight) || !text.empty()) return {};
  const bool good = change.ramp_from >= 1 && change.from >= change.ramp_from &&
                    std::isfinite(change.weight) && change.weight >= 0;
  if (!good) return {};
  return change;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    parts.emplace_back(part);
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::optional<std::vector<OffloadItem>> to_offload(const Value& value) {
  std::vector<std::string> names;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value.scalar)) {
    names = *list;
  } else if (const auto text = to_text(value)) {
    if (*text != "none") names = split_at_commas(*text);
  } else {
    return {};
  }
  std::vector<OffloadItem> items;
  for (const std::string& name : names) {
    const auto item = to_offload_item(name);
    if (!item) return {};
    items.push_back(*item);
  }
  return items;
}

std::optional<std::vector<WeightChange>> to_weight_changes(const Value& value) {
  std::vector<std::string> texts;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value.scalar)) {
    texts = *list;
  } else if (const auto text = to_text(value)) {
    texts = split_at_commas(*text);
  } else {
    return {};
  }
  std::vector<WeightChange> changes;
  for (const std::string& text : texts) {
    const auto change = to_weight_change(text);
    if (!change) return {};
    changes.push_back(*change);
  }
  return changes;
}

std::optional<FileBudget> to_file_budget(const Value& value) {
  const auto text = to_text(value);
  if (!text) return {};
  const std::size_t colon = text->rfind(':');
  if (colon == std::string::npos || colon == 0 || text->find('\0') != std::string::npos) return {};
  const auto bytes = to_bytes({text->substr(colon + 1), {}});
  if (!bytes) return {};
  return FileBudget{text->substr(0, colon), *bytes};
}

std::string print(const std::vector<OffloadItem>& value) {
  std::string text;
  for (const OffloadItem& item : value) {
    std::string name(name_of(item.what));
    if (item.to != OffloadTier::automatic) name += fmt::format(":{}", name_of(item.to));
    text += (text.empty() ? "" : ", ") + print(std::string_view(name));
  }
  return "[" + text + "]";
}

std::string print(const std::vector<WeightChange>& value) {
  std::string text;
  for (const WeightChange& change : value) {
    std::string steps = fmt::format("{}", change.from);
    if (change.ramp_from != change.from) steps = fmt::format("{}-{}", change.ramp_from, steps);
    text += (text.empty() ? "" : ", ") +
            print(std::string_view(fmt::format("{}: {}", steps, print(change.weight))));
  }
  return "[" + text + "]";
}

std::string print(const FileBudget& value) {
  std::string bytes = print(value.bytes);
  if (bytes.starts_with('"')) {
    bytes = bytes.substr(1, bytes.size() - 2);
  } else {
    bytes += "B";  // a number alone is no size with a unit
  }
  return print(std::string_view(value.directory.native() + ":" + bytes));
}

std::string print(std::int64_t value) { return fmt::format("{}", value); }
std::string print(bool value) { return value ? "true" : "false"; }

std::string print(double value) {
  std::string text = fmt::format("{}", value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string print(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      text += fmt::format("\\u{:04X}", byte);
    } else {
      text += c;
    }
  }
  return text + '"';
}

std::string print(Device value) {
  switch (value.kind) {
    case Device::Kind::cpu: return "\"cpu\"";
    case Device::Kind::automatic: return "\"auto\"";
    case Device::Kind::cuda: break;
  }
  return fmt::format("\"cuda:{}\"", value.index);
}

std::string print(Bytes value) {
  // Text carries the number as a double; what that cannot hold exactly goes as an integer.
  for (const Unit& unit : kBinaryUnits)
    if (unit.bytes > 1 && value.count != 0 && value.count % unit.bytes == 0)
      return fmt::format("\"{}{}\"", value.count / unit.bytes, unit.name);
  return fmt::format("{}", value.count);
}

}  // namespace bessemer::config

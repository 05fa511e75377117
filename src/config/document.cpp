#include "config/document.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/error.h"
#include "config/field.h"

namespace bessemer::config {
namespace {

// A run file is a page or two. The bounds keep a wrong file (a corpus, a checkpoint) from being
// parsed at length, and a hostile one from nesting deeper than the stack.
constexpr std::size_t kMostText = 1 << 20;
constexpr std::ptrdiff_t kMostDots = 64;

bool is_section(std::string_view name) {
  const auto& names = section_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The texts of an array; nothing where it holds anything else.
Value list_of(const toml::array& array) {
  std::vector<std::string> texts;
  for (const toml::node& item : array) {
    const auto* text = item.as_string();
    if (!text) return {};
    texts.push_back(text->get());
  }
  return {std::move(texts), {}};
}

Value value_of(const toml::node& node) {
  if (const auto* v = node.as_boolean()) return {v->get(), {}};
  if (const auto* v = node.as_integer()) return {v->get(), {}};
  if (const auto* v = node.as_floating_point()) return {v->get(), {}};
  if (const auto* v = node.as_string()) return {v->get(), {}};
  if (const auto* v = node.as_array()) return list_of(*v);
  return {};
}

bool all_tables(const toml::array& array) {
  return !array.empty() &&
         std::all_of(array.begin(), array.end(), [](const auto& n) { return n.is_table(); });
}

/// Walks the nodes of a file or an override, and gives every key its entry.
class Walk {
 public:
  /// `place` is complete for an override; for a file it is the name, and lines are added.
  Walk(std::string_view place, bool is_override) : place_(place), is_override_(is_override) {}

  void visit(const std::string& name, const toml::node& node) {
    const auto* table = node.as_table();
    if (table && (name.empty() || is_section(name))) {
      for (const auto& [key, child] : *table)
        visit(name.empty() ? std::string(key.str()) : fmt::format("{}.{}", name, key.str()), child);
      return;
    }
    const auto* array = node.as_array();
    if (name == "data.source" && array && all_tables(*array)) return visit_sources(*array);
    entries_.push_back(entry(name, node));
  }

  /// One key of the source at `index`.
  void visit_source_key(std::size_t index, const std::string& key, const toml::node& node) {
    Entry made = entry(fmt::format("data.source[{}].{}", index, key), node);
    made.source = index;
    made.key = key;
    entries_.push_back(std::move(made));
  }

  std::vector<Entry> take() { return std::move(entries_); }

 private:
  void visit_sources(const toml::array& array) {
    for (std::size_t i = 0; i < array.size(); ++i)
      for (const auto& [key, child] : *array[i].as_table())
        visit_source_key(i, std::string(key.str()), child);
  }

  Entry entry(const std::string& name, const toml::node& node) const {
    Entry made;
    made.name = name;
    made.place = place_;
    made.line = is_override_ ? kOverrideLine : static_cast<int>(node.source().begin.line);
    if (!is_override_ && made.line > 0) made.place = fmt::format("{}:{}", place_, made.line);
    made.table = node.is_table();
    made.value = value_of(node);
    return made;
  }

  std::string place_;
  bool is_override_;
  std::vector<Entry> entries_;
};

/// "data.source[2].path" taken apart: the one name of an override that is no dotted path.
std::optional<std::pair<std::size_t, std::string>> source_key(std::string_view name) {
  constexpr std::string_view kPrefix = "data.source[";
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  std::size_t index = 0;
  const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  if (error != std::errc{}) return {};
  name.remove_prefix(static_cast<std::size_t>(rest - name.data()));
  if (!name.starts_with("].")) return {};
  return std::pair{index, std::string(name.substr(2))};
}

// toml++ builds and frees dotted keys recursively, one level a dot, without a bound of its own.
void check_nesting(std::string_view text, std::string_view file_name) {
  int line = 1;
  while (!text.empty()) {
    const std::string_view row = text.substr(0, text.find('\n'));
    const std::string_view before_value = row.substr(0, row.find('='));
    require_input(std::count(row.begin(), row.end(), '.') <= kMostDots ||
                      std::count(before_value.begin(), before_value.end(), '.') <= kMostDots,
                  "{}:{}: more than {} dots in a key; a run file's keys are section.key", file_name,
                  line, kMostDots);
    text.remove_prefix(std::min(text.size(), row.size() + 1));
    ++line;
  }
}

}  // namespace

void Complaints::raise() const {
  if (items_.empty()) return;
  auto sorted = items_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Item& a, const Item& b) { return a.line < b.line; });
  std::string message;
  for (const Item& item : sorted) {
    if (!message.empty()) message += '\n';
    message += item.text;
  }
  throw InputError(message);
}

std::vector<Entry> read_document(std::string_view text, std::string_view file_name) {
  require_input(text.size() <= kMostText, "{}: {} bytes; a run file is at most {}", file_name,
                text.size(), kMostText);
  check_nesting(text, file_name);
  try {
    const toml::table root = toml::parse(text);
    Walk walk(file_name, false);
    walk.visit("", root);
    return walk.take();
  } catch (const toml::parse_error& error) {
    fail_input("{}:{}: not valid TOML: {}", file_name, error.source().begin.line,
               error.description());
  }
}

std::vector<Entry> read_override(const std::string& text, Complaints& complaints) {
  const std::string place = "--set " + shown(text);
  const auto equals = text.find('=');
  const auto name_end = text.find_last_not_of(' ', equals == 0 ? 0 : equals - 1);
  if (equals == std::string::npos || equals == 0 || name_end == std::string::npos) {
    complaints.add(kOverrideLine, place + ": expected section.key=value");
    return {};
  }
  const std::string name = text.substr(0, name_end + 1);
  const std::string raw = text.substr(equals + 1);
  const auto parse = [&](const std::string& value) {
    check_nesting(value, place);
    const toml::table root = toml::parse("v = " + value);
    const toml::node& node = *root.get("v");
    Walk walk(place, true);
    if (const auto of_source = source_key(name))
      walk.visit_source_key(of_source->first, of_source->second, node);
    else
      walk.visit(name, node);
    auto entries = walk.take();
    const bool quoted = raw.find_first_of("\"'") != std::string::npos;
    if (entries.size() == 1 && entries[0].name == name && !entries[0].table && !quoted)
      entries[0].value.raw = raw;
    return entries;
  };
  try {
    if (raw.find('\n') == std::string::npos) return parse(raw);
  } catch (const toml::parse_error&) {
    // Not TOML: a bare word.
  }
  try {
    return parse(print(std::string_view(raw)));
  } catch (const toml::parse_error& error) {
    complaints.add(kOverrideLine, fmt::format("{}: {}", place, error.description()));
    return {};
  }
}

std::string shown(std::string_view name) {
  constexpr std::size_t kMost = 80;
  std::string text(name.substr(0, kMost));
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](unsigned char c) { return c < 0x80 && std::isgraph(c); });
  if (!plain) text = print(std::string_view(text));
  return name.size() > kMost ? text + "..." : text;
}

}  // namespace bessemer::config

#include "config/parse.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "config/checks.h"
#include "config/document.h"
#include "config/field.h"
#include "config/suggest.h"

namespace bessemer::config {
namespace {

/// Section and key of a dotted name; the section is the longest that exists.
std::pair<std::string, std::string> split(std::string_view name) {
  const auto& sections = section_names();
  std::string best;
  for (const std::string& section : sections)
    if (section.size() > best.size() && name.size() > section.size() && name.starts_with(section) &&
        name[section.size()] == '.')
      best = section;
  if (best.empty()) return {"", std::string(name)};
  return {best, std::string(name.substr(best.size() + 1))};
}

const Field<RunConfig>* find_field(std::string_view name) {
  static const auto table = [] {
    std::map<std::string, const Field<RunConfig>*, std::less<>> made;
    for (const auto& field : run_fields()) {
      made[field.name()] = &field;
      if (!field.alias.empty()) made[field.section + "." + field.alias] = &field;
    }
    return made;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

/// Puts the entries of file and overrides together, one for each key, and stores them.
class Reader {
 public:
  explicit Reader(std::string_view file_name) { origins_.file_name = file_name; }

  void add_file(std::vector<Entry> entries) {
    for (Entry& entry : entries) {
      const std::string name = canonical(entry);
      const auto [at, fresh] = entries_.try_emplace(name, entry);
      if (!fresh)
        complain(entry, fmt::format("{} is the same key, set at {}", shown(at->second.name),
                                    at->second.place));
    }
    count_sources();
    if (entries_.contains("data.path") && sources_ > 0)
      complain(entries_.at("data.path"),
               "data.path is short for one [[data.source]], and there are such tables too; keep "
               "one");
  }

  /// The entries of one override, which win over all before.
  void add_override(std::vector<Entry> entries, std::string_view text) {
    // A new path or list of sources is all the sources there are.
    const bool list = text.starts_with("data.source") && !text.starts_with("data.source[");
    const bool all_sources = list || text.starts_with("data.path");
    if (all_sources)
      std::erase_if(entries_, [](const auto& e) {
        return e.first == "data.path" || e.first.starts_with("data.source");
      });
    for (Entry& entry : entries) {
      const std::string name = canonical(entry);
      entries_.insert_or_assign(name, std::move(entry));
    }
    if (all_sources) count_sources();
  }

  RunConfig read(std::string default_name) {
    RunConfig config;
    config.data.sources.resize(sources_);
    for (const auto& [name, entry] : entries_) store(name, entry, config);
    if (config.train.name.empty() && !origins_.has("train.name"))
      config.train.name = std::move(default_name);
    fill_derived(config);
    check_run(config, origins_, complaints_);
    complaints_.raise();
    return config;
  }

  Complaints& complaints() { return complaints_; }

 private:
  static std::string canonical(const Entry& entry) {
    const auto* field = find_field(entry.name);
    return field ? field->name() : entry.name;
  }

  void count_sources() {
    sources_ = 0;
    for (const auto& [name, entry] : entries_)
      if (entry.source) sources_ = std::max(sources_, *entry.source + 1);
  }

  void complain(const Entry& entry, std::string_view text) {
    complaints_.add(entry.line, fmt::format("{}: {}: {}", entry.place, shown(entry.name), text));
  }

  template <typename Owner>
  void read_field(const Field<Owner>& field, const Entry& entry, const std::string& name,
                  Owner& owner) {
    if (!entry.table && field.read(entry.value, owner)) return;
    complain(entry, fmt::format("expected {}, found {}", field.expected,
                                entry.table ? "a table" : describe(entry.value)));
    origins_.broken.insert(name);
  }

  void store(const std::string& name, const Entry& entry, RunConfig& config) {
    origins_.set[name] = {entry.place, entry.line};
    if (const auto* field = find_field(name)) return read_field(*field, entry, name, config);
    if (entry.source) return store_source(entry, config.data.sources);
    if (name == "data.source") {
      origins_.broken.insert("data.path");
      return complain(entry, "expected [[data.source]] tables with name, path and weight");
    }
    store_unknown(entry);
  }

  void store_source(const Entry& entry, std::vector<DataSource>& sources) {
    // Only an override can name a source that is not there.
    if (*entry.source >= sources.size())
      return complain(entry, fmt::format("there are {} [[data.source]] tables, counted from 0",
                                         sources.size()));
    for (const auto& field : source_fields())
      if (field.key == entry.key)
        return read_field(field, entry, entry.name, sources[*entry.source]);
    complain(entry, "unknown key; " + suggest_source_key(entry.key).text);
  }

  void store_unknown(const Entry& entry) {
    if (edit_distance(entry.name, "data.source") == 1) {
      origins_.broken.insert("data.path");
      return complain(entry,
                      "unknown key; did you mean source? A mixture is [[data.source]] tables");
    }
    const auto [section, key] = split(entry.name);
    if (section.empty()) return store_outside(entry);
    const Suggestion suggestion = suggest_key(section, key);
    origins_.broken.insert(suggestion.name);
    complain(entry, suggestion.text.empty() ? "unknown key" : "unknown key; " + suggestion.text);
  }

  /// A section that is not, or a key before the first section.
  void store_outside(const Entry& entry) {
    const auto& sections = section_names();
    if (std::find(sections.begin(), sections.end(), entry.name) != sections.end())
      return complain(entry, fmt::format("expected a section, [{}], found {}", entry.name,
                                         describe(entry.value)));
    const std::string head = entry.name.substr(0, entry.name.find('.'));
    const Suggestion suggestion = suggest_section(head);
    origins_.broken.insert(suggestion.name);
    std::string text = entry.table || head != entry.name
                           ? std::string("unknown section")
                           : std::string("unknown key; keys stand in a [section]");
    if (!suggestion.text.empty()) text += "; " + suggestion.text;
    complain(entry, text);
  }

  Origins origins_;
  Complaints complaints_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::size_t sources_ = 0;  // [[data.source]] tables
};

}  // namespace

RunConfig parse_run_config(std::string_view text, std::string_view file_name,
                           std::span<const std::string> overrides) {
  Reader reader(file_name);
  reader.add_file(read_document(text, file_name));
  for (const std::string& override : overrides)
    reader.add_override(read_override(override, reader.complaints()), override);
  return reader.read(std::filesystem::path(file_name).stem().string());
}

RunConfig load_run_config(const std::filesystem::path& path,
                          std::span<const std::string> overrides) {
  return parse_run_config(read_file(path), path.string(), overrides);
}

}  // namespace bessemer::config

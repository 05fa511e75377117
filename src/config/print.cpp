#include <fmt/format.h>

#include "config/field.h"
#include "config/parse.h"

namespace bessemer::config {
namespace {

template <typename Owner>
std::string keys_of(const std::vector<Field<Owner>>& fields, const std::string& section,
                    const Owner& owner) {
  std::string text;
  for (const auto& field : fields) {
    if (field.section != section) continue;
    if (const auto value = field.print(owner)) text += fmt::format("{} = {}\n", field.key, *value);
  }
  return text;
}

void append_block(std::string& text, std::string_view heading, const std::string& keys) {
  if (keys.empty()) return;
  if (!text.empty()) text += '\n';
  text += fmt::format("{}\n{}", heading, keys);
}

template <typename Owner>
std::string rows_of(const std::vector<Field<Owner>>& fields, const std::string& section,
                    const Owner& defaults) {
  std::string text = "\n| key | values | default | meaning |\n|---|---|---|---|\n";
  for (const auto& field : fields) {
    if (field.section != section) continue;
    const auto value = field.print(defaults);
    const std::string alias = field.alias.empty() ? "" : fmt::format(" (or `{}`)", field.alias);
    text += fmt::format("| `{}`{} | {} | {} | {} |\n", field.key, alias, field.expected,
                        value ? fmt::format("`{}`", *value) : "", field.doc);
  }
  return text;
}

}  // namespace

std::string to_toml(const RunConfig& config) {
  std::string text;
  for (const std::string& section : section_names()) {
    append_block(text, fmt::format("[{}]", section), keys_of(run_fields(), section, config));
    if (section != "data") continue;
    for (const DataSource& source : config.data.sources)
      append_block(text, "[[data.source]]", keys_of(source_fields(), "", source));
  }
  return text;
}

std::string key_reference() {
  RunConfig defaults;
  defaults.model.rope_scaling.emplace();
  std::string text =
      "# The run file\n\n"
      "TOML; one key a line, in sections. `bessemer train RUN.toml --set section.key=value` "
      "overrides a key.\nPaths are relative to the current directory. Where no default is shown, "
      "the meaning tells in\nparentheses what an absent key comes to. This page is printed from "
      "the table in `src/config/fields.cpp`,\nand a test holds it to that.\n";
  for (const std::string& section : section_names()) {
    text += fmt::format("\n## [{}]\n", section) + rows_of(run_fields(), section, defaults);
    if (section == "data")
      text += "\n## [[data.source]]\n" + rows_of(source_fields(), std::string(), DataSource());
  }
  return text;
}

}  // namespace bessemer::config

// The table of a run file: one Field for each key, made by the one line that binds its name, its
// member, its range and its description. Parsing, `--set`, aliases, printing and the reference in
// docs/run-file.md all walk this table.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "config/names.h"
#include "config/value.h"

namespace bessemer::config {

/// One key of an Owner (a RunConfig, or a DataSource within it).
template <typename Owner>
struct Field {
  std::string section;   // "train"; "model.rope_scaling"; empty for a DataSource
  std::string key;       // "steps"
  std::string alias;     // another accepted spelling; empty where there is none
  std::string expected;  // "an integer of at least 1"
  std::string doc;

  /// Stores the value. False where it is not `expected`; the owner is then untouched.
  std::function<bool(const Value&, Owner&)> read;
  /// The present value as TOML; empty where the member is.
  std::function<std::optional<std::string>(const Owner&)> print;

  std::string name() const { return section.empty() ? key : section + "." + key; }
};

template <typename T>
struct Unwrapped {
  using type = T;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using type = T;
};

/// Adds the fields of one section to a table. `T` below is a member's type, or a std::optional of
/// it: such a key may be left out for good, and prints only where it is set.
template <typename Owner, typename Section>
class SectionFields {
 public:
  /// `write` gives the section to store in; `read` may give nullptr where there is none.
  SectionFields(std::string section, std::vector<Field<Owner>>& table,
                std::function<Section&(Owner&)> write,
                std::function<const Section*(const Owner&)> read)
      : section_(std::move(section)),
        table_(table),
        write_(std::move(write)),
        read_(std::move(read)) {}

  template <typename T>
  SectionFields& integer(std::string key, T Section::*member, IntegerRange range, std::string doc) {
    using Whole = typename Unwrapped<T>::type;
    return add(
        std::move(key), member, describe(range), std::move(doc),
        [range](const Value& value) -> std::optional<Whole> {
          const auto read = to_integer(value, range);
          if (!read) return {};
          return static_cast<Whole>(*read);
        },
        [](Whole value) { return config::print(static_cast<std::int64_t>(value)); });
  }

  template <typename T>
  SectionFields& real(std::string key, T Section::*member, RealRange range, std::string doc) {
    return add(
        std::move(key), member, describe(range), std::move(doc),
        [range](const Value& value) { return to_real(value, range); },
        [](double value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& boolean(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member, "true or false", std::move(doc), to_boolean,
               [](bool value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& text(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member, "text", std::move(doc), to_text,
               [](const std::string& value) { return config::print(std::string_view(value)); });
  }

  template <typename T>
  SectionFields& path(std::string key, T Section::*member, std::string doc) {
    return add(
        std::move(key), member, "a path", std::move(doc),
        [](const Value& value) -> std::optional<std::filesystem::path> {
          const auto read = to_text(value);
          // A path never holds a NUL: the system would read only what stands before it.
          if (!read || read->empty() || read->find('\0') != std::string::npos) return {};
          return *read;
        },
        [](const std::filesystem::path& value) {
          return config::print(std::string_view(value.native()));
        });
  }

  template <typename T>
  SectionFields& bytes(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member, "a size such as \"2GiB\" or a number of bytes",
               std::move(doc), to_bytes, [](Bytes value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& device(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member, "\"cpu\", \"cuda\", \"cuda:N\" or \"auto\"", std::move(doc),
               to_device, [](Device value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& offload(std::string key, T Section::*member, std::string doc) {
    return add(
        std::move(key), member,
        "a list of \"optimizer\", \"gradients\", \"parameters\", \"activations\", each maybe with "
        "\":host\" or \":file\" after it",
        std::move(doc), to_offload,
        [](const std::vector<OffloadItem>& value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& file_budget(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member, "a directory and a size, such as \"/scratch:64GiB\"",
               std::move(doc), to_file_budget,
               [](const FileBudget& value) { return config::print(value); });
  }

  template <typename T>
  SectionFields& weight_changes(std::string key, T Section::*member, std::string doc) {
    return add(std::move(key), member,
               "a list of steps and weights, such as \"1000: 0.5\" or, over a ramp, "
               "\"1000-2000: 0.5\"",
               std::move(doc), to_weight_changes,
               [](const std::vector<WeightChange>& value) { return config::print(value); });
  }

  /// `planned` lists names that a later version will take; they are refused as such.
  template <typename T, typename Enum, std::size_t N>
  SectionFields& choice(std::string key, T Section::*member, const Named<Enum> (&names)[N],
                        std::string doc, std::string planned = "") {
    std::string expected;
    for (const auto& named : names)
      expected += fmt::format("{}\"{}\"", expected.empty() ? "" : " or ", named.name);
    if (!planned.empty()) expected += fmt::format(" ({} not built yet)", planned);
    return add(
        std::move(key), member, std::move(expected), std::move(doc),
        [&names](const Value& value) -> std::optional<Enum> {
          const auto read = to_text(value);
          for (const auto& named : names)
            if (read && *read == named.name) return named.value;
          return {};
        },
        [](Enum value) { return config::print(name_of(value)); });
  }

  /// A degree of parallelism: 1, until there is more.
  SectionFields& degree(std::string key, std::int64_t Section::*member, std::string doc) {
    integer(std::move(key), member, {1, 1}, std::move(doc));
    table_.back().expected = "1 (other degrees are not built yet)";
    return *this;
  }

  /// Another spelling of the key just added.
  SectionFields& alias(std::string spelling) {
    table_.back().alias = std::move(spelling);
    return *this;
  }

 private:
  template <typename T, typename Read, typename Print>
  SectionFields& add(std::string key, T Section::*member, std::string expected, std::string doc,
                     Read read, Print print) {
    Field<Owner> field;
    field.section = section_;
    field.key = std::move(key);
    field.expected = std::move(expected);
    field.doc = std::move(doc);
    field.read = [write = write_, member, read](const Value& value, Owner& owner) {
      auto converted = read(value);
      if (!converted) return false;
      write(owner).*member = std::move(*converted);
      return true;
    };
    field.print = [section = read_, member,
                   print](const Owner& owner) -> std::optional<std::string> {
      const Section* from = section(owner);
      if (!from) return {};
      if constexpr (std::is_same_v<T, typename Unwrapped<T>::type>) {
        return print(from->*member);
      } else {
        if (!(from->*member)) return {};
        return print(*(from->*member));
      }
    };
    table_.push_back(std::move(field));
    return *this;
  }

  std::string section_;
  std::vector<Field<Owner>>& table_;
  std::function<Section&(Owner&)> write_;
  std::function<const Section*(const Owner&)> read_;
};

/// Every key of a run file but the sources, in the order in which they print.
const std::vector<Field<RunConfig>>& run_fields();

/// The keys of one [[data.source]].
const std::vector<Field<DataSource>>& source_fields();

/// [section] names in the order in which they print, "model.rope_scaling" included.
const std::vector<std::string>& section_names();

}  // namespace bessemer::config

// A run file taken apart: one entry for each key, with the place it came from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/value.h"

namespace bessemer::config {

struct Entry {
  std::string name;    // "train.steps", "data.source[0].path"; as written, aliases included
  std::string place;   // "run.toml:14" or "--set train.steps=7"
  int line = 0;        // orders messages; overrides come after all lines of a file
  bool table = false;  // a table where no section has that name
  std::optional<std::size_t> source;  // index of the [[data.source]] that `key` is of
  std::string key;
  Value value;
};

/// Mistakes, each a line of the error in the end.
class Complaints {
 public:
  void add(int line, std::string text) { items_.push_back({line, std::move(text)}); }
  bool empty() const { return items_.empty(); }

  /// Throws them all as one InputError, in the order of their lines; nothing where there are none.
  void raise() const;

 private:
  struct Item {
    int line;
    std::string text;
  };
  std::vector<Item> items_;
};

/// Lines that complaints without a line of their own sort by.
inline constexpr int kNoLine = 1 << 29;
inline constexpr int kOverrideLine = 1 << 30;

/// The entries of a run file. InputError where it is not TOML.
std::vector<Entry> read_document(std::string_view text, std::string_view file_name);

/// The entries of one `section.key=value`; a section or a list of sources makes several. Complains
/// where it has no '=' or its value is not valid UTF-8.
std::vector<Entry> read_override(const std::string& text, Complaints& complaints);

/// A name as a message shows it: quoted where it holds more than plain characters, cut where long.
std::string shown(std::string_view name);

}  // namespace bessemer::config

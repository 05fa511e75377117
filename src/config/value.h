// One value of a run file, freed from the TOML library, and its conversions to and from the types
// that a RunConfig is made of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/run_config.h"

namespace bessemer::config {

struct Value {
  /// Nothing stands for what no key takes: a table, a date, an array of anything but texts.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<std::string>>
      scalar;
  /// As it was written on the command line; empty for a value of a file. A key that takes text
  /// takes this, so that `--set train.name=7` needs no quotes.
  std::string raw;
};

/// How a message shows what was found: `3`, `"abc"`, `an array, table or date`.
std::string describe(const Value& value);

/// Allowed values: [low, high], or (low, high] and [low, high) where an end is open.
struct IntegerRange {
  std::int64_t low = std::numeric_limits<std::int64_t>::min();
  std::int64_t high = std::numeric_limits<std::int64_t>::max();
};
struct RealRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;
  bool open_high = false;
};

std::string describe(const IntegerRange& range);  // "an integer from 1 to 8"
std::string describe(const RealRange& range);     // "a number of at least 0 and below 1"

// Reads; empty where the value is of another kind or out of range. An integer may be written as a
// whole real (`max_tokens = 1e9`); a real may be written as an integer; infinities and NaN never
// pass.
std::optional<std::int64_t> to_integer(const Value& value, const IntegerRange& range);
std::optional<double> to_real(const Value& value, const RealRange& range);
std::optional<bool> to_boolean(const Value& value);
std::optional<std::string> to_text(const Value& value);
std::optional<Device> to_device(const Value& value);  // "cpu", "auto", "cuda", "cuda:1"
std::optional<Bytes> to_bytes(const Value& value);    // 1024, "2GiB", "1.5 GB"; at least one byte
/// ["optimizer", "activations:file"], or one text with commas between; "none" and [] are empty.
std::optional<std::vector<OffloadItem>> to_offload(const Value& value);
std::optional<FileBudget> to_file_budget(const Value& value);  // "/directory:64GiB"
/// ["1000: 0.5", "2000-3000: 0.1"], or one text with commas between; [] is empty.
std::optional<std::vector<WeightChange>> to_weight_changes(const Value& value);

// TOML text that reads back to the same value.
std::string print(std::int64_t value);
std::string print(double value);  // the fewest digits, and always a real
std::string print(bool value);
std::string print(std::string_view value);
std::string print(Device value);
std::string print(Bytes value);  // the largest binary unit that divides it
std::string print(const std::vector<OffloadItem>& value);
std::string print(const FileBudget& value);
std::string print(const std::vector<WeightChange>& value);

}  // namespace bessemer::config

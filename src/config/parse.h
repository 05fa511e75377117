// Run files: TOML text, with `--set` overrides on top, to a RunConfig and back.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "config/run_config.h"

namespace bessemer::config {

/// Reads a run file. `file_name` stands in messages (`run.toml:14: ...`), and its stem is the
/// default of train.name. Each override is `section.key=value`, the text after `--set`: the value
/// is TOML, or else a bare word taken as text; later ones win over earlier ones and over the file.
///
/// InputError carries every mistake found, one a line: TOML that does not parse, unknown sections
/// and keys (with what was probably meant), values of the wrong type or out of range, missing keys
/// and contradictions. Members marked "filled by parse" are filled in the result.
RunConfig parse_run_config(std::string_view text, std::string_view file_name,
                           std::span<const std::string> overrides = {});

/// The same from a file, whose path is the name in messages.
RunConfig load_run_config(const std::filesystem::path& path,
                          std::span<const std::string> overrides = {});

/// The full configuration as a run file, every set key in it; parses back to an equal RunConfig.
std::string to_toml(const RunConfig& config);

/// Every key with its values, default and meaning, as the Markdown of docs/run-file.md.
std::string key_reference();

}  // namespace bessemer::config

// `manifest.json` of a checkpoint: size and checksum of each other file in its directory.
//
//     {
//       "digest": "4f0c...",            XXH3 of the compact print of {"files": ...,
//       "format_version": 1} "files": {
//         "state.json": {"bytes": 812, "xxh3_64": "0123456789abcdef"},
//         "tensors.safetensors": {"bytes": 98765, "xxh3_64": "fedcba9876543210"}
//       },
//       "format_version": 1
//     }
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace bessemer::checkpoint {

inline constexpr int kFormatVersion = 1;

struct ManifestEntry {
  std::uint64_t bytes = 0;
  std::string xxh3_64;  // sixteen lower-case hexadecimal digits

  bool operator==(const ManifestEntry&) const = default;
};

/// By plain file name: no entry leads out of the directory.
using Manifest = std::map<std::string, ManifestEntry>;

std::string print_manifest(const Manifest& manifest);

/// InputError names `path` where the text is damaged, of another format version, or not a manifest.
Manifest parse_manifest(std::string_view text, std::string_view path);

/// Checks that `directory` holds each file of the manifest with its size and checksum. InputError
/// names the first file that is missing, truncated or changed.
void verify_files(const Manifest& manifest, const std::filesystem::path& directory);

/// Whether `name` is the name of a file in the same directory and cannot lead elsewhere.
bool is_plain_file_name(std::string_view name);

}  // namespace bessemer::checkpoint

// manifest.json of a directory of token files: what each file was made from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bessemer::data {

struct ManifestSource {
  std::string name;
  std::string digest;  // of what it was made from: files, tokenizer, options
  std::uint64_t documents = 0, tokens = 0, bytes = 0, bad_records = 0;
  std::uint64_t trained = 0;  // tokens
  std::uint64_t bin_bytes = 0, idx_bytes = 0, places_bytes = 0;
  std::uint64_t loss_bytes = 0;    // 0: it has no loss mask
  std::vector<std::string> files;  // as Place::file counts them
};

struct Manifest {
  std::string tokenizer_digest;   // of what the tokenizer was made from
  std::string tokenizer_content;  // of its file
  std::vector<ManifestSource> sources;

  ManifestSource* find(std::string_view name);
  void replace(ManifestSource source);
  void remove(std::string_view name);
};

/// The manifest in `directory`; an empty one where there is none or it cannot be understood (then
/// all is made anew).
Manifest read_manifest(const std::filesystem::path& directory);

/// A manifest as text. `parse_manifest` throws InputError for what cannot be understood; one of
/// another version is empty.
Manifest parse_manifest(std::string_view text, const std::string& name);
std::string print_manifest(const Manifest& manifest);

void write_manifest(const Manifest& manifest, const std::filesystem::path& directory);

/// 128 bits as hexadecimal digits (XXH3).
std::string digest_of(std::string_view bytes);

/// Path, size and modification time of each file, as text to put in a digest.
std::string describe_files(const std::vector<std::filesystem::path>& files);

}  // namespace bessemer::data

#include "data/manifest.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <sys/stat.h>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFormat = 4;

fs::path manifest_path(const fs::path& directory) { return directory / "manifest.json"; }

Manifest from_json(const json& document) {
  Manifest manifest;
  if (document.at("format") != kFormat) return manifest;
  const json& tokenizer = document.at("tokenizer");
  manifest.tokenizer_digest = tokenizer.at("made_from").get<std::string>();
  manifest.tokenizer_content = tokenizer.at("content").get<std::string>();
  for (const json& entry : document.at("sources")) {
    ManifestSource source;
    source.name = entry.at("name").get<std::string>();
    source.digest = entry.at("made_from").get<std::string>();
    source.documents = entry.at("documents").get<std::uint64_t>();
    source.tokens = entry.at("tokens").get<std::uint64_t>();
    source.bytes = entry.at("bytes").get<std::uint64_t>();
    source.bad_records = entry.at("bad_records").get<std::uint64_t>();
    source.bin_bytes = entry.at("bin_bytes").get<std::uint64_t>();
    source.idx_bytes = entry.at("idx_bytes").get<std::uint64_t>();
    source.places_bytes = entry.at("places_bytes").get<std::uint64_t>();
    source.trained = entry.at("trained").get<std::uint64_t>();
    source.loss_bytes = entry.at("loss_bytes").get<std::uint64_t>();
    source.files = entry.at("files").get<std::vector<std::string>>();
    manifest.sources.push_back(std::move(source));
  }
  return manifest;
}

json to_json(const ManifestSource& source) {
  return {{"name", source.name},
          {"made_from", source.digest},
          {"documents", source.documents},
          {"tokens", source.tokens},
          {"bytes", source.bytes},
          {"bin_bytes", source.bin_bytes},
          {"idx_bytes", source.idx_bytes},
          {"places_bytes", source.places_bytes},
          {"bad_records", source.bad_records},
          {"trained", source.trained},
          {"loss_bytes", source.loss_bytes},
          {"files", source.files}};
}

}  // namespace

ManifestSource* Manifest::find(std::string_view name) {
  const auto found = std::find_if(sources.begin(), sources.end(),
                                  [&](const auto& source) { return source.name == name; });
  return found == sources.end() ? nullptr : &*found;
}

void Manifest::replace(ManifestSource source) {
  remove(source.name);
  sources.push_back(std::move(source));
}

void Manifest::remove(std::string_view name) {
  std::erase_if(sources, [&](const auto& source) { return source.name == name; });
}

Manifest read_manifest(const fs::path& directory) {
  const fs::path path = manifest_path(directory);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  try {
    return parse_manifest(read_file(path), path.string());
  } catch (const InputError& error) {
    log::warn("{}; all is made anew", error.what());
    return {};
  }
}

Manifest parse_manifest(std::string_view text, const std::string& name) {
  try {
    return from_json(json::parse(text));
  } catch (const json::exception& error) {
    fail_input("{}: not understood ({})", name, error.what());
  }
}

std::string print_manifest(const Manifest& manifest) {
  json sources = json::array();
  for (const ManifestSource& source : manifest.sources) sources.push_back(to_json(source));
  const json document = {
      {"format", kFormat},
      {"tokenizer",
       {{"made_from", manifest.tokenizer_digest}, {"content", manifest.tokenizer_content}}},
      {"sources", sources}};
  // Names of files need not be UTF-8; what is not shows as U+FFFD.
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

void write_manifest(const Manifest& manifest, const fs::path& directory) {
  write_file_atomically(manifest_path(directory), print_manifest(manifest));
}

std::string digest_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string describe_files(const std::vector<fs::path>& files) {
  std::string text;
  for (const fs::path& file : files) {
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0) {
      fail_input("{}: cannot read its size: {}", file.string(), std::strerror(errno));
    }
    const std::string name = fs::absolute(file).lexically_normal().string();
    text += fmt::format("{}:{} {} {}.{:09}\n", name.size(), name, info.st_size, info.st_mtim.tv_sec,
                        info.st_mtim.tv_nsec);
  }
  return text;
}

}  // namespace bessemer::data

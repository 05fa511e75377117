#include "checkpoint/manifest.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/checksum.h"
#include "checkpoint/json_text.h"

namespace bessemer::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int kMostDepth = 3;

bool is_checksum(const Json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() == 16 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string digest_of(const Json& format_version, const Json& files) {
  return checksum_of(Json{{"files", files}, {"format_version", format_version}}.dump());
}

ManifestEntry read_entry(const std::string& name, const Json& value, std::string_view path) {
  const std::string place = fmt::format("{}: file {}", path, quote(name));
  require_input(is_plain_file_name(name), "{}: not the name of a file in the same directory",
                place);
  require_input(value.is_object(), "{}: expected an object, found {}", place, shortened(value));
  const Json& bytes = member(value, "bytes", place);
  require_input(bytes.is_number_unsigned(), "{}: bytes: expected a whole number, found {}", place,
                shortened(bytes));
  const Json& checksum = member(value, "xxh3_64", place);
  require_input(is_checksum(checksum), "{}: xxh3_64: expected 16 hexadecimal digits, found {}",
                place, shortened(checksum));
  return {bytes.get<std::uint64_t>(), checksum.get<std::string>()};
}

}  // namespace

std::string print_manifest(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, entry] : manifest) {
    files[name] = {{"bytes", entry.bytes}, {"xxh3_64", entry.xxh3_64}};
  }
  const Json whole = {{"format_version", kFormatVersion},
                      {"files", files},
                      {"digest", digest_of(kFormatVersion, files)}};
  return whole.dump(2) + "\n";
}

Manifest parse_manifest(std::string_view text, std::string_view path) {
  const Json whole = parse_json_object(text, path, kMostDepth);
  const Json& version = member(whole, "format_version", path);
  const Json& files = member(whole, "files", path);
  const Json& digest = member(whole, "digest", path);
  require_input(version == kFormatVersion,
                "{}: format_version {}; this version of Bessemer reads {}", path,
                shortened(version), kFormatVersion);
  require_input(files.is_object(), "{}: files: expected an object, found {}", path,
                shortened(files));
  Manifest manifest;
  for (const auto& item : files.items()) {
    manifest.emplace(item.key(), read_entry(item.key(), item.value(), path));
  }
  const std::string expected = digest_of(version, files);
  require_input(digest == expected, "{}: damaged: its digest is {}, its contents give \"{}\"", path,
                shortened(digest), expected);
  return manifest;
}

void verify_files(const Manifest& manifest, const std::filesystem::path& directory) {
  for (const auto& [name, entry] : manifest) {
    const std::filesystem::path path = directory / name;
    std::error_code ignored;
    require_input(std::filesystem::exists(path, ignored),
                  "{}: missing, though the manifest of the checkpoint lists it", path.string());
    const MappedFile file(path);
    require_input(file.bytes().size() == entry.bytes,
                  "{}: {} bytes long, was written with {}; the checkpoint is damaged",
                  path.string(), file.bytes().size(), entry.bytes);
    const std::string found = checksum_of(file.bytes());
    require_input(found == entry.xxh3_64,
                  "{}: checksum {}, was written with {}; the checkpoint is damaged", path.string(),
                  found, entry.xxh3_64);
  }
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

}  // namespace bessemer::checkpoint

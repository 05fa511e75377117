#include "kernels/cuda/code_cache.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::string_view kMagic = "bessemer code 1\n";
constexpr std::size_t kWord = sizeof(std::uint64_t);

/// FNV-1a, 64 bits (Fowler, Noll and Vo; RFC 9923).
std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return hash;
}

std::string word_of(std::uint64_t value) {
  std::string bytes(kWord, '\0');
  std::memcpy(bytes.data(), &value, kWord);
  return bytes;
}

/// Takes a word off the front.
std::optional<std::uint64_t> take_word(std::string_view& bytes) {
  if (bytes.size() < kWord) return std::nullopt;
  std::uint64_t value;
  std::memcpy(&value, bytes.data(), kWord);
  bytes.remove_prefix(kWord);
  return value;
}

std::string encode(std::string_view key, std::string_view code) {
  std::string checked = word_of(key.size());
  checked.append(key).append(code);
  return std::string(kMagic) + word_of(fnv1a(checked)) + checked;
}

/// The code, where the file is whole and of this key.
std::optional<std::string> decode(std::string_view file, std::string_view key) {
  if (!file.starts_with(kMagic)) return std::nullopt;
  file.remove_prefix(kMagic.size());
  const auto checksum = take_word(file);
  if (!checksum || *checksum != fnv1a(file)) return std::nullopt;
  const auto key_bytes = take_word(file);
  if (!key_bytes || *key_bytes != key.size() || !file.starts_with(key)) return std::nullopt;
  return std::string(file.substr(key.size()));
}

std::optional<std::string> read(const std::filesystem::path& path, std::string_view key) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  try {
    auto code = decode(read_file(path), key);
    if (!code) log::warn("{}: not whole, or of other source; compiling anew", path.string());
    return code;
  } catch (const InputError& error) {
    log::warn("{}; compiling anew", error.what());
    return std::nullopt;
  }
}

// Under a name of its own until it is whole, as others may be writing the same.
void write(const std::filesystem::path& path, std::string_view file) {
  static std::atomic<int> written = 0;
  std::filesystem::path temporary = path;
  temporary += fmt::format(".{}.{}", ::getpid(), ++written);
  std::error_code ignored;
  try {
    std::filesystem::create_directories(path.parent_path());
    FileWriter writer(temporary);
    writer.write(file);
    writer.close(Flush::later);
    std::filesystem::rename(temporary, path);
  } catch (const std::exception& error) {
    std::filesystem::remove(temporary, ignored);
    log::warn("compiled code is not kept for the next run: {}", error.what());
  }
}

}  // namespace

std::filesystem::path CodeCache::path_of(std::string_view key) const {
  return directory_ / fmt::format("{:016x}.code", fnv1a(key));
}

std::string CodeCache::get(std::string_view key, const std::function<std::string()>& make) const {
  if (directory_.empty()) return make();
  const std::filesystem::path path = path_of(key);
  if (auto code = read(path, key)) return *std::move(code);
  std::string code = make();
  write(path, encode(key, code));
  return code;
}

}  // namespace bessemer::kernels::cuda

#include "checkpoint/partial_directory.h"

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace bessemer::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string reason(int code) { return std::generic_category().message(code); }

fs::path hidden_sibling(const fs::path& directory, const char* kind) {
  return directory.parent_path() /
         fmt::format(".{}.{}-{}", directory.filename().string(), kind, ::getpid());
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  const int code = errno;
  fail_input("{}: cannot rename into place: {}", to.string(), reason(code));
}

// Puts `fresh` at `target` and what was there at `fresh`.
void exchange(const fs::path& fresh, const fs::path& target) {
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) return;
  // Some file systems cannot exchange; then there is a moment with neither in place.
  const fs::path old = hidden_sibling(target, "removed");
  rename_or_fail(target, old);
  rename_or_fail(fresh, target);
  rename_or_fail(old, fresh);
}

void remove_all_or_fail(const fs::path& directory) {
  std::error_code code;
  fs::remove_all(directory, code);
  require_input(!code, "{}: cannot delete: {}", directory.string(), code.message());
}

fs::path normalised(const fs::path& target) {
  const fs::path whole = fs::absolute(target).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

PartialDirectory::PartialDirectory(fs::path target, Existing existing)
    : target_(normalised(target)), existing_(existing) {
  std::error_code code;
  if (existing == Existing::refuse && fs::exists(target_, code)) {
    require_input(fs::is_directory(target_, code) && fs::is_empty(target_, code),
                  "{}: already there; name a new directory or an empty one", target_.string());
  }
  fs::create_directories(target_.parent_path(), code);
  require_input(!code, "{}: cannot create directory: {}", target_.parent_path().string(),
                code.message());
  path_ = hidden_sibling(target_, "partial");
  remove_all_or_fail(path_);  // of an earlier process with the same id
  fs::create_directory(path_, code);
  require_input(!code, "{}: cannot create directory: {}", path_.string(), code.message());
}

PartialDirectory::~PartialDirectory() {
  if (published_) return;
  std::error_code code;
  fs::remove_all(path_, code);
  if (code) log::warn("{}: cannot delete: {}", path_.string(), code.message());
}

void PartialDirectory::publish() {
  sync_directory(path_);
  std::error_code code;
  const bool replaces = existing_ == Existing::replace && fs::exists(target_, code);
  if (replaces) {
    exchange(path_, target_);
  } else {
    rename_or_fail(path_, target_);
  }
  published_ = true;
  sync_directory(target_.parent_path());
  if (replaces) remove_all_or_fail(path_);
}

void remove_directory(const fs::path& directory) {
  const fs::path hidden = hidden_sibling(normalised(directory), "removed");
  rename_or_fail(directory, hidden);
  remove_all_or_fail(hidden);
}

void remove_leftovers(const fs::path& parent) {
  std::error_code code;
  for (const auto& item : fs::directory_iterator(parent, code)) {
    const std::string name = item.path().filename().string();
    const bool is_hidden = name.starts_with(".step_");
    const bool is_ours = name.find(".partial-") != name.npos || name.find(".removed-") != name.npos;
    if (is_hidden && is_ours) remove_all_or_fail(item.path());
  }
}

}  // namespace bessemer::checkpoint

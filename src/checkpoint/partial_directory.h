// A directory that becomes visible whole or not at all.
#pragma once

#include <filesystem>

namespace bessemer::checkpoint {

/// What `publish` does where the target is there already.
enum class Existing {
  refuse,   // InputError, unless it is an empty directory
  replace,  // swap the two in one step and delete the old one
};

/// `PARENT/.NAME.partial-PID` for the target `PARENT/NAME`. Files are written in `path()`, each
/// flushed by its writer; `publish` flushes the directory, renames it to the target and flushes
/// the parent. Destroyed without `publish`, it removes itself. A process killed in between leaves
/// the hidden directory, which `remove_leftovers` clears.
class PartialDirectory {
 public:
  explicit PartialDirectory(std::filesystem::path target, Existing existing);
  PartialDirectory(const PartialDirectory&) = delete;
  PartialDirectory& operator=(const PartialDirectory&) = delete;
  ~PartialDirectory();

  const std::filesystem::path& path() const { return path_; }
  void publish();

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
  Existing existing_;
  bool published_ = false;
};

/// Deletes `directory` so that it is never seen in part: hides it by a rename, then deletes it.
/// InputError names the path.
void remove_directory(const std::filesystem::path& directory);

/// Deletes what killed processes left hidden in `parent`. The caller holds the run's lock.
void remove_leftovers(const std::filesystem::path& parent);

}  // namespace bessemer::checkpoint

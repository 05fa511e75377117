// Compiled code on the disk, by the content of what it was made from. Any number of processes may
// share a directory: a file is there whole or not at all. It is never trusted: one that is cut
// short, changed, or of another key is as good as none, and is written anew.
//
// A file, NAME.code with the FNV-1a hash of the key as its name, is: "bessemer code 1\n", then as
// 8-byte integers of this machine the FNV-1a hash of all that follows and the bytes of the key,
// then the key, then the code.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace bessemer::kernels::cuda {

class CodeCache {
 public:
  /// The directory need not be there. Empty: nothing is kept.
  explicit CodeCache(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// The code of `key`: kept, or made and kept. Where it cannot be kept, the log says so.
  std::string get(std::string_view key, const std::function<std::string()>& make) const;

  /// Where the code of `key` is kept.
  std::filesystem::path path_of(std::string_view key) const;

 private:
  std::filesystem::path directory_;
};

}  // namespace bessemer::kernels::cuda

// PREFIX.loss: which tokens of PREFIX.bin are trained; a prefix without it is trained on whole.
//
//   magic    8 bytes "BSMLOSS1"
//   bits     one a token of PREFIX.bin, in its order, from the lowest of a byte up; 1: trained
//   tokens   u64, of PREFIX.bin
//   trained  u64, ones among the bits
//
// Little-endian, bits in (tokens + 7) / 8 bytes. Goals: a mask in any pattern, read in part
// without the rest, written in one go. Not a goal: weights other than 0 and 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/file.h"

namespace bessemer::data {

std::filesystem::path loss_path(const std::filesystem::path& prefix);

/// The file appears under its name only in `finish`.
class LossMaskWriter {
 public:
  explicit LossMaskWriter(const std::filesystem::path& prefix);
  ~LossMaskWriter();

  /// Of the next tokens, 0 or 1 each.
  void append(std::span<const std::uint8_t> trained);
  void close();   // all is written, not yet in place
  void finish();  // closes it where that was not done

  std::uint64_t trained() const { return trained_; }

 private:
  void flush();

  std::filesystem::path path_;
  std::unique_ptr<FileWriter> file_;
  std::vector<std::uint8_t> bits_;  // whole bytes that are not written yet, and a part of one
  std::uint64_t tokens_ = 0, trained_ = 0;
  bool finished_ = false;
};

/// Read at each use; any number of threads.
class LossMask {
 public:
  /// The mask of a prefix with so many tokens; null where there is none. InputError where the file
  /// is not of this kind, cut short, or of other tokens.
  static std::shared_ptr<const LossMask> open(const std::filesystem::path& prefix,
                                              std::uint64_t tokens);

  std::uint64_t trained() const { return trained_; }

  /// Sets those of `targets`, which are tokens [first, first + size) of PREFIX.bin, to -1 that are
  /// not trained.
  void apply(std::uint64_t first, std::span<std::int32_t> targets) const;

 private:
  LossMask(const std::filesystem::path& path, std::uint64_t tokens);

  FileReader file_;
  std::uint64_t trained_ = 0;
};

}  // namespace bessemer::data

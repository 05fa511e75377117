// Token files in Megatron's format: PREFIX.bin holds the tokens of all sequences end to end,
// PREFIX.idx where they are. Little-endian, without padding:
//
//   magic      9 bytes "MMIDIDX\0\0"
//   version    u64     1
//   dtype      u8      4: int32, 8: uint16 (the only two read here)
//   sequences  u64     S
//   documents  u64     D, the number of document indices
//   lengths    i32[S]  tokens of each sequence
//   pointers   i64[S]  byte in PREFIX.bin where each begins
//   indices    i64[D]  first sequence of each document, ascending from 0, and S at the end
//
// Everything is checked when a dataset is opened: nothing later can read outside the files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace bessemer::data {

enum class TokenType : std::uint8_t { int32 = 4, uint16 = 8 };  // the codes of the format

inline std::size_t size_of(TokenType type) { return type == TokenType::uint16 ? 2 : 4; }

/// The smallest type that holds ids below `vocabulary`.
inline TokenType token_type_for(std::int32_t vocabulary) {
  return vocabulary <= 65536 ? TokenType::uint16 : TokenType::int32;
}

/// PREFIX.bin and PREFIX.idx for a prefix, with or without one of these extensions.
std::filesystem::path bin_path(const std::filesystem::path& prefix);
std::filesystem::path idx_path(const std::filesystem::path& prefix);

/// Read-only; any number of threads. Tokens are read from the file at each use: they are no memory
/// of the process (the system keeps what it likes of them in its cache).
class IndexedDataset {
 public:
  /// InputError names the file and the place in it.
  static IndexedDataset open(const std::filesystem::path& prefix);

  /// The same over bytes that outlive it; `name` is for messages.
  static IndexedDataset from_bytes(std::span<const std::byte> idx, std::span<const std::byte> bin,
                                   const std::string& name);

  const std::string& name() const { return name_; }
  TokenType type() const { return type_; }
  std::uint64_t documents() const { return offsets_.size(); }
  std::uint64_t tokens() const { return tokens_; }

  /// Tokens of document `d`.
  std::uint64_t length(std::uint64_t d) const { return lengths_[d]; }

  /// Tokens of PREFIX.bin in front of document `d`.
  std::uint64_t position(std::uint64_t d) const { return offsets_[d] / size_of(type_); }

  /// Tokens [begin, begin + out.size()) of document `d`, which must have them.
  void read(std::uint64_t d, std::uint64_t begin, std::span<std::int32_t> out) const;

 private:
  struct Index;
  void load(const Index& index, std::size_t bin_size);
  void read_bytes(std::size_t offset, std::span<std::byte> out) const;

  std::string name_;
  TokenType type_ = TokenType::int32;
  std::unique_ptr<FileReader> bin_file_;  // null: from bytes
  std::span<const std::byte> bin_;
  std::vector<std::uint64_t> offsets_;  // of documents, in bytes
  std::vector<std::uint64_t> lengths_;  // of documents, in tokens
  std::uint64_t tokens_ = 0;
};

/// Writes a dataset of one sequence a document (several where one has more than 2^31 - 1 tokens).
/// The files appear under their names only in `finish`.
class IndexedDatasetWriter {
 public:
  IndexedDatasetWriter(std::filesystem::path prefix, TokenType type);
  ~IndexedDatasetWriter();

  /// Adds tokens to the document at hand. Ids must fit the type.
  void append(std::span<const std::int32_t> tokens);
  void end_document();

  void finish();

  std::uint64_t documents() const { return indices_.size() - 1; }
  std::uint64_t tokens() const { return tokens_; }

 private:
  void store(std::span<const std::int32_t> tokens);
  void flush();
  void end_sequence();

  std::filesystem::path prefix_;
  TokenType type_;
  std::unique_ptr<FileWriter> bin_;
  std::vector<std::byte> buffer_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::int64_t> indices_{0};
  std::int64_t length_ = 0;  // tokens of the sequence at hand
  std::uint64_t tokens_ = 0;
  bool finished_ = false;
};

}  // namespace bessemer::data

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
// Everything is checked when a dataset is opened: nothing later can read outside the files. The
// index is read in blocks for that and stays where it is: a dataset takes the same memory whatever
// the number of its documents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
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

/// The bytes of a file that is read at each use, or of memory that outlives it.
class ByteSource {
 public:
  ByteSource() = default;
  explicit ByteSource(const std::filesystem::path& path)
      : file_(std::make_unique<FileReader>(path)) {}
  explicit ByteSource(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t size() const { return file_ != nullptr ? file_->size() : bytes_.size(); }
  /// `out` must lie inside.
  void read(std::size_t offset, std::span<std::byte> out) const;

 private:
  std::unique_ptr<FileReader> file_;  // null: memory
  std::span<const std::byte> bytes_;
};

/// Where a document's tokens are.
struct Extent {
  std::uint64_t offset = 0;  // bytes
  std::uint64_t tokens = 0;
};

/// Read-only; any number of threads. Tokens and index are read from the files at each use: they are
/// no memory of the process (the system keeps what it likes of them in its cache).
class IndexedDataset {
 public:
  /// InputError names the file and the place in it.
  static IndexedDataset open(const std::filesystem::path& prefix);

  /// The same over bytes that outlive it; `name` is for messages.
  static IndexedDataset from_bytes(std::span<const std::byte> idx, std::span<const std::byte> bin,
                                   const std::string& name);

  const std::string& name() const { return name_; }
  TokenType type() const { return type_; }
  std::uint64_t documents() const { return documents_; }
  std::uint64_t tokens() const { return tokens_; }

  /// Of the two files: what changes when they do, but not when they are moved.
  std::string identity() const;

  /// Of document `d` < documents().
  Extent find(std::uint64_t d) const;
  std::uint64_t length(std::uint64_t d) const;

  /// Calls visitor(tokens) for every document, in order; the index is read in blocks.
  void visit_lengths(const std::function<void(std::uint64_t)>& visitor) const;

  /// Tokens [begin, begin + out.size()) of a document, which must have them.
  void read(const Extent& document, std::uint64_t begin, std::span<std::int32_t> out) const;
  void read(std::uint64_t d, std::uint64_t begin, std::span<std::int32_t> out) const {
    read(find(d), begin, out);
  }

 private:
  void load(const std::string& name);
  template <typename Visitor>
  void scan(const Visitor& visitor) const;
  std::int64_t length_of(std::uint64_t sequence) const;
  std::int64_t pointer_of(std::uint64_t sequence) const;

  std::string name_;
  std::filesystem::path idx_path_;  // empty: from bytes
  TokenType type_ = TokenType::int32;
  ByteSource idx_, bin_;
  std::size_t pointers_ = 0, starts_ = 0;  // where these arrays begin in the index
  std::uint64_t sequences_ = 0, documents_ = 0, tokens_ = 0;
  bool one_each_ = true;  // document d is sequence d
};

/// Writes an index of documents that lie end to end, to a file of this very name. `documents` calls
/// what it is given with the length of each document; it is called several times, and only what
/// a file buffers is held in memory.
using LengthVisitor = std::function<void(std::uint64_t)>;
void write_index(const std::filesystem::path& path, TokenType type,
                 const std::function<void(const LengthVisitor&)>& documents);

/// What files are called until they are whole, and what puts them in place then.
std::filesystem::path partial_path(std::filesystem::path path);
void put_in_place(const std::filesystem::path& path);

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

  std::uint64_t documents() const { return lengths_.size(); }
  std::uint64_t tokens() const { return tokens_; }

 private:
  void store(std::span<const std::int32_t> tokens);
  void flush();

  std::filesystem::path prefix_;
  TokenType type_;
  std::unique_ptr<FileWriter> bin_;
  std::vector<std::byte> buffer_;
  std::vector<std::uint64_t> lengths_;  // of the documents
  std::uint64_t length_ = 0;            // of the document at hand
  std::uint64_t tokens_ = 0;
  bool finished_ = false;
};

}  // namespace bessemer::data

// What one chunk of a corpus became: a file of its own until all chunks are joined (parts.h),
// so that a build that was interrupted goes on. Little-endian, without padding:
//
//   magic      8 bytes "BSMPART2"
//   checksums  u64[2]  XXH3 of all behind them, and of the summary alone
//   summary    u64[17] documents, tokens, bytes of text, bad records, empty documents, bytes of a
//                      token, whether there is a mask (0 or 1); then the places in front of the
//                      chunk and behind it: file, offset, lines, consumed, within (chunk_reader.h)
//   tokens     the documents' tokens end to end, with the end-of-text token of those that end here
//   documents  {u64 tokens, u64 offset, u64 file}[documents]  offset and file as places.h has them,
//                      files counted from the first of the part's own list
//   mask       of conversations: one bit a token, as loss_mask.h has them, in (tokens + 7) / 8
//              bytes; without it, all tokens are trained
//
// A document that goes over a border of parts has an entry in each of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/chunk_reader.h"
#include "data/indexed_dataset.h"
#include "data/source.h"

namespace bessemer::data {

struct PartSummary {
  std::uint64_t documents = 0, tokens = 0;
  std::uint64_t bytes = 0;  // of text
  std::uint64_t bad_records = 0, empty_documents = 0;
  std::uint64_t token_bytes = 0;
  bool masked = false;
  Cursor begin, end;
};

struct PartDocument {
  std::uint64_t tokens = 0, offset = 0, file = 0;
};

/// Collects a part in memory.
class PartWriter {
 public:
  explicit PartWriter(TokenType type) : type_(type) { summary.token_bytes = size_of(type); }

  /// Adds tokens to the document at hand; the first ones say where it begins. `trained` has 0 or 1
  /// for each of them, or is empty: then for all tokens of the part.
  void append(std::span<const std::int32_t> tokens, std::span<const std::uint8_t> trained,
              const Place& place);
  void end_document() { open_ = false; }

  /// Whole or not there; not flushed, for its checksum tells. InputError names the path.
  void write(const std::filesystem::path& path);

  PartSummary summary;  // documents, tokens and the mask are noted here, the rest is the caller's

 private:
  TokenType type_;
  std::string tokens_;
  std::vector<std::uint8_t> trained_;
  std::vector<PartDocument> documents_;
  bool open_ = false;
};

/// The summary of a part and nothing else of it; InputError for a file that cannot be one.
PartSummary read_part_summary(const std::filesystem::path& path);

/// The documents of a part that was checked before.
std::vector<PartDocument> read_part_documents(const std::filesystem::path& path);

/// A part in memory. InputError for anything that is none, and for a part that was damaged.
class PartContent {
 public:
  explicit PartContent(const std::filesystem::path& path);
  PartContent(std::string bytes, std::string name);

  const PartSummary& summary() const { return summary_; }
  std::span<const std::byte> tokens() const;
  const std::vector<PartDocument>& documents() const { return documents_; }
  std::vector<std::uint8_t> trained() const;  // by token, 0 or 1; empty without a mask

 private:
  std::string bytes_;
  PartSummary summary_;
  std::vector<PartDocument> documents_;
};

}  // namespace bessemer::data

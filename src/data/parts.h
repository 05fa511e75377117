// The parts of a source (part_file.h): made from its files by all threads, then joined to token
// files.
//
// Files stand in groups, a large one alone or several small ones together; a group's parts lie in a
// folder named by a digest of all that they are made from. So a build that was interrupted finds
// what it had, and nothing else. The bytes of the token files depend neither on the number of
// threads nor on interruptions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/part_file.h"
#include "data/source.h"
#include "data/tokenizer.h"

namespace bessemer::data {

struct PartOptions {
  std::string name;                 // of the source, for messages
  std::filesystem::path directory;  // of all parts
  std::string made_from;            // the tokenizer and the options, as text to put in a digest
  std::string text_key = "text";
  OnBadRecord on_bad_record = OnBadRecord::stop;
  AddedTokens added_tokens = AddedTokens::as_text;
  std::shared_ptr<const ChatTemplate> chat = nullptr;               // records are conversations
  std::uint64_t smallest_chunk = 1 << 20, largest_chunk = 1 << 24;  // bytes of text in a part

  /// Bytes of the files done and, of these, by an earlier call; called from the calling thread.
  std::function<void(std::uint64_t done, std::uint64_t before)> progress = {};
};

struct MadePart {
  std::filesystem::path path;
  std::uint64_t first_file = 0;  // of the part's list, in the source's
  PartSummary summary;
};

/// Tokenizes the files into parts, leaving those that are there; in the order of the documents. On
/// a mistake (InputError, of the first in that order) what is whole stays for the next call.
std::vector<MadePart> make_parts(const std::vector<std::filesystem::path>& files,
                                 const Tokenizer& tokenizer, const PartOptions& options);

/// Joins parts to PREFIX.bin, .idx and .places, and .loss where they have masks (else there is none
/// then); these appear when all of them are whole. The memory this takes does not grow with the
/// number of documents. `before_change` is called before the first of them is replaced.
void join_parts(const std::vector<MadePart>& parts, const std::filesystem::path& prefix,
                TokenType type, const std::function<void()>& before_change);

}  // namespace bessemer::data

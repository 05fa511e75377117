// Corpus → tokenizer → token files, in one directory:
//
//   tokenizer.json   trained on all sources; or the given one as it is (tokenizer_file.h)
//   NAME.bin, .idx   the tokens of source NAME (indexed_dataset.h): one sequence a document, each
//                    with the end-of-text token behind it
//   NAME.loss        which tokens are trained, of a source of conversations (loss_mask.h)
//   NAME.places      where each document is in the corpus (places.h)
//   manifest.json    what these were made from, so that a second run makes only what changed
//
// Sources are recognised by the path, size and modification time of their files. Every file
// appears under its name only when it is whole. A lock keeps two builds of one directory apart:
// the second waits, and finds the work done. Sources are tokenized in parts (parts.h), which lie in
// the folder .parts until their source is done: after a build that was killed, or that met a full
// disk or a bad record, the next call goes on from the parts that are whole. Until then the tokens
// take their place twice. Memory is bounded by a chunk of text a thread (16 MiB, or the longest
// document that cannot be cut) with its tokens, besides the words counted for training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/source.h"
#include "data/tokenizer.h"

namespace bessemer::data {

/// What the records of JSONL files are; automatic: conversations where the first one of the source
/// has "messages" and no text.
enum class SourceFormat { automatic, text, messages };

struct CorpusSource {
  std::string name;  // of its files: letters, digits, '-', '_' and '.', not first
  std::string path;  // file, directory or glob (source.h)
  SourceFormat format = SourceFormat::automatic;
  std::string chat_template{kDefaultChatTemplate};  // a name or a file (chat.h)
};

struct BuildProgress {
  std::string_view stage;             // "count words", "learn tokens" or "tokenize"
  std::string_view source;            // empty where all are meant
  std::uint64_t done = 0, total = 0;  // bytes of files as stored; tokens while learning
  std::uint64_t before = 0;           // of `done`, what an earlier call did
};

struct BuildOptions {
  std::vector<CorpusSource> sources;
  std::filesystem::path directory;
  std::string text_key = "text";
  OnBadRecord on_bad_record = OnBadRecord::stop;

  /// The file of the tokenizer to use. Without one, a tokenizer is trained:
  std::optional<std::filesystem::path> tokenizer;
  std::int32_t vocabulary = 32768;
  std::string pattern{kGpt2Pattern};
  std::uint64_t training_bytes = std::uint64_t{1} << 30;  // of text at most, even over sources

  /// Whether "<|endoftext|>" and the like inside a document are tokens or plain text.
  AddedTokens added_tokens = AddedTokens::as_text;

  std::function<void(const BuildProgress&)> progress;  // called from the calling thread
};

struct BuiltSource {
  std::string name;
  std::filesystem::path prefix;  // of .bin and .idx
  std::uint64_t documents = 0;
  std::uint64_t tokens = 0;   // end-of-text tokens included
  std::uint64_t bytes = 0;    // of the documents' text
  std::uint64_t trained = 0;  // tokens
  std::uint64_t bad_records = 0;
  bool reused = false;
};

struct BuiltCorpus {
  std::filesystem::path tokenizer;
  std::vector<BuiltSource> sources;
};

/// The template of a source's conversations; null where its records are texts. InputError where a
/// source that holds something else was said to hold conversations.
std::shared_ptr<const ChatTemplate> chat_of(const CorpusSource& source,
                                            const std::vector<std::filesystem::path>& files,
                                            std::string_view text_key);

/// InputError for anything wrong with paths, files or options; then no file that was there before
/// is changed.
BuiltCorpus build_corpus(const BuildOptions& options);

}  // namespace bessemer::data

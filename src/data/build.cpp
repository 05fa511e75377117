#include "data/build.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/log.h"
#include "base/parallel.h"
#include "data/bpe_trainer.h"
#include "data/byte_alphabet.h"
#include "data/dataset.h"
#include "data/indexed_dataset.h"
#include "data/loss_mask.h"
#include "data/manifest.h"
#include "data/parts.h"
#include "data/places.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::size_t kPiecesPerThread = 4;

/// Holds `directory` against other builds.
class DirectoryLock {
 public:
  explicit DirectoryLock(const fs::path& directory) : lock_(directory / ".lock") {
    if (lock_.try_lock()) return;
    log::info("{}: another build is at work; waiting for it", directory.string());
    lock_.lock();
  }

 private:
  FileLock lock_;
};

/// A source with the files its path means now.
struct Input {
  const CorpusSource* source;
  std::vector<fs::path> files;
  std::shared_ptr<const ChatTemplate> chat;  // null: its records are texts
  std::string reading, description;          // for digests: how files are read; that and the files
};

void check_name(const std::string& name) {
  const bool good =
      !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '-' || c == '_' || c == '.';
      });
  const bool clash = name.ends_with(".bin") || name.ends_with(".idx");
  require_input(good && !clash,
                "source name {:?}: expected letters, digits, '-', '_' and '.', "
                "and no .bin or .idx at the end",
                to_alphabet(name));
}

std::string describe_reading(const BuildOptions& options, const ChatTemplate* chat) {
  return fmt::format("{} bad {} files\n",
                     chat != nullptr ? "chat " + chat->description() : "key " + options.text_key,
                     options.on_bad_record == OnBadRecord::skip ? "skip" : "stop");
}

std::vector<Input> find_inputs(const BuildOptions& options) {
  require_input(!options.sources.empty(), "no data source; give a path to text or JSONL files");
  std::set<std::string> names;
  std::vector<Input> inputs;
  for (const CorpusSource& source : options.sources) {
    check_name(source.name);
    require_input(names.insert(source.name).second, "source {:?} is there twice", source.name);
    auto files = expand_path(source.path);
    auto chat = chat_of(source, files, options.text_key);
    std::string reading = describe_reading(options, chat.get());
    std::string description = reading + describe_files(files);
    inputs.push_back(
        {&source, std::move(files), std::move(chat), std::move(reading), std::move(description)});
  }
  return inputs;
}

class Builder {
 public:
  Builder(const BuildOptions& options, std::vector<Input> inputs)
      : options_(options),
        inputs_(std::move(inputs)),
        manifest_(read_manifest(options.directory)) {}

  BuiltCorpus run() {
    BuiltCorpus built;
    built.tokenizer = options_.directory / tokenizer_name();
    const Tokenizer tokenizer = make_tokenizer(built.tokenizer);
    for (const Input& input : inputs_) built.sources.push_back(make_source(input, tokenizer));
    std::error_code ignored;
    fs::remove_all(parts_directory(), ignored);
    return built;
  }

 private:
  std::string tokenizer_name() const {
    return options_.tokenizer ? kept_tokenizer_name(*options_.tokenizer) : "tokenizer.json";
  }

  /// What the tokenizer is made from.
  std::string tokenizer_description() const {
    if (options_.tokenizer) return "given\n" + digest_of(read_file(*options_.tokenizer));
    std::string text = fmt::format("trained {} {} {}\n", options_.vocabulary, options_.pattern,
                                   options_.training_bytes);
    for (const Input& input : inputs_) text += input.description;
    return text;
  }

  Tokenizer make_tokenizer(const fs::path& path) {
    const std::string digest = digest_of(tokenizer_description());
    std::error_code ignored;
    if (manifest_.tokenizer_digest == digest && fs::exists(path, ignored) &&
        digest_of(read_file(path)) == manifest_.tokenizer_content) {
      return load_tokenizer(path);
    }
    Tokenizer tokenizer = options_.tokenizer ? load_tokenizer(*options_.tokenizer) : train();
    tokenizer.end_of_text();  // complains now rather than after the tokenizer is written
    if (options_.tokenizer) {
      keep_tokenizer(*options_.tokenizer, options_.directory);
    } else {
      save_tokenizer(tokenizer, path);
    }
    manifest_.tokenizer_digest = digest;
    manifest_.tokenizer_content = digest_of(read_file(path));
    write_manifest(manifest_, options_.directory);
    return tokenizer;
  }

  ReaderOptions reader_options(const Input& input, bool cuttable) const {
    return {.text_key = options_.text_key,
            .piece_bytes = cuttable ? kPieceBytes : 0,
            .on_bad_record = options_.on_bad_record,
            .chat = input.chat};
  }

  void report(std::string_view stage, std::string_view source, std::uint64_t done,
              std::uint64_t total) const {
    if (options_.progress) options_.progress({stage, source, done, total, 0});
  }

  Tokenizer train() const {
    BpeTrainerOptions trainer_options{options_.vocabulary, options_.pattern};
    for (const Input& input : inputs_) add_markers(input, trainer_options.special_tokens);
    BpeTrainer trainer(std::move(trainer_options));
    const std::uint64_t share = options_.training_bytes / inputs_.size();
    std::vector<Piece> pieces;
    for (const Input& input : inputs_) {
      DocumentReader reader(input.files, reader_options(input, trainer.cuttable()));
      std::uint64_t bytes = 0;
      while (bytes < share && read_pieces(reader, pieces)) {
        for (const Piece& piece : pieces) bytes += piece.text.size();
        if (input.chat) pieces = contents_of(pieces);
        trainer.add(pieces);
        report("count words", input.source->name, reader.bytes_done(), reader.bytes_total());
      }
    }
    const auto wanted = static_cast<std::uint64_t>(options_.vocabulary);
    Tokenizer tokenizer = trainer.train([&](std::int32_t tokens) {
      report("learn tokens", "", static_cast<std::uint64_t>(tokens), wanted);
    });
    if (tokenizer.vocabulary_size() < options_.vocabulary) {
      log::warn("the corpus gave a vocabulary of {} tokens, not the {} asked for",
                tokenizer.vocabulary_size(), options_.vocabulary);
    }
    return tokenizer;
  }

  /// The markers of a source's template, so that the tokenizer has a token for each.
  static void add_markers(const Input& input, std::vector<std::string>& special_tokens) {
    if (!input.chat) return;
    for (std::string& marker : markers_of(*input.chat)) {
      const auto end = special_tokens.end();
      if (std::find(special_tokens.begin(), end, marker) == end) {
        special_tokens.push_back(std::move(marker));
      }
    }
  }

  /// What stands in the messages, without the template's frames.
  static std::vector<Piece> contents_of(const std::vector<Piece>& pieces) {
    std::vector<Piece> contents;
    for (const Piece& piece : pieces) {
      std::size_t begin = 0;
      for (const TextSpan& span : piece.spans) {
        if (!span.frame) contents.push_back({piece.text.substr(begin, span.bytes)});
        begin += span.bytes;
      }
    }
    return contents;
  }

  /// Fills `pieces` with the next ones, a few for each thread. False at the end.
  static bool read_pieces(DocumentReader& reader, std::vector<Piece>& pieces) {
    const auto threads = static_cast<std::size_t>(thread_count());
    const std::size_t most = kPieceBytes * kPiecesPerThread * threads;
    std::size_t bytes = 0, count = 0;
    while (bytes < most) {
      if (count == pieces.size()) pieces.emplace_back();
      if (!reader.next(pieces[count])) break;
      bytes += pieces[count++].text.size();
    }
    pieces.resize(count);
    return count > 0;
  }

  BuiltSource make_source(const Input& input, const Tokenizer& tokenizer) {
    const std::string& name = input.source->name;
    const fs::path prefix = options_.directory / name;
    const std::string digest = digest_of(fmt::format("{}\n{}", made_from(), input.description));
    if (const ManifestSource* known = manifest_.find(name);
        known != nullptr && known->digest == digest && is_intact(*known, prefix)) {
      return built_source(*known, prefix, true);
    }
    ManifestSource made = tokenize(input, tokenizer, prefix);
    made.digest = digest;
    const BuiltSource built = built_source(made, prefix, false);
    manifest_.replace(std::move(made));
    write_manifest(manifest_, options_.directory);
    return built;
  }

  static BuiltSource built_source(const ManifestSource& source, const fs::path& prefix,
                                  bool reused) {
    return {source.name,  prefix,         source.documents,   source.tokens,
            source.bytes, source.trained, source.bad_records, reused};
  }

  static bool is_intact(const ManifestSource& source, const fs::path& prefix) {
    std::error_code code;
    const auto has = [&](const fs::path& path, std::uint64_t bytes) {
      return fs::is_regular_file(path, code) && fs::file_size(path, code) == bytes && !code;
    };
    return has(bin_path(prefix), source.bin_bytes) && has(idx_path(prefix), source.idx_bytes) &&
           has(places_path(prefix), source.places_bytes) &&
           (source.loss_bytes == 0 ? !fs::exists(loss_path(prefix), code)
                                   : has(loss_path(prefix), source.loss_bytes));
  }

  ManifestSource tokenize(const Input& input, const Tokenizer& tokenizer, const fs::path& prefix) {
    const std::string& name = input.source->name;
    std::uint64_t total = 0;
    for (const fs::path& file : input.files) total += fs::file_size(file);
    PartOptions part_options;
    part_options.name = name;
    part_options.directory = parts_directory();
    part_options.made_from = made_from() + "\n" + input.reading;
    part_options.chat = input.chat;
    part_options.text_key = options_.text_key;
    part_options.on_bad_record = options_.on_bad_record;
    part_options.added_tokens = options_.added_tokens;
    part_options.progress = [&](std::uint64_t done, std::uint64_t before) {
      if (!options_.progress) return;
      options_.progress({"tokenize", name, std::min(done, total), total, std::min(before, total)});
    };
    const std::vector<MadePart> parts = make_parts(input.files, tokenizer, part_options);
    ManifestSource made = sum_of(parts, input);
    join_parts(parts, prefix, token_type_for(tokenizer.vocabulary_size()), [&] {
      manifest_.remove(name);  // a crash between here and the new entry: joined again
      write_manifest(manifest_, options_.directory);
      std::error_code ignored;  // a layout of other tokens is not used again
      for (const fs::path& layout : layout_files(prefix)) fs::remove(layout, ignored);
    });
    const auto dataset = IndexedDataset::open(prefix);
    made.documents = dataset.documents();
    made.tokens = dataset.tokens();
    const auto loss = LossMask::open(prefix, made.tokens);
    made.trained = loss ? loss->trained() : made.tokens;
    made.bin_bytes = fs::file_size(bin_path(prefix));
    made.idx_bytes = fs::file_size(idx_path(prefix));
    made.places_bytes = fs::file_size(places_path(prefix));
    made.loss_bytes = loss ? fs::file_size(loss_path(prefix)) : 0;
    return made;
  }

  static ManifestSource sum_of(const std::vector<MadePart>& parts, const Input& input) {
    ManifestSource made{input.source->name};
    std::uint64_t documents = 0, empty = 0;
    for (const MadePart& part : parts) {
      documents += part.summary.documents;
      empty += part.summary.empty_documents;
      made.bytes += part.summary.bytes;
      made.bad_records += part.summary.bad_records;
    }
    const std::string more =
        input.files.size() > 1 ? fmt::format(" and {} more", input.files.size() - 1) : "";
    require_input(documents > 0, "{}{}: no documents: every file is empty; give a path with text",
                  input.files.front().string(), more);
    if (empty > 0) log::info("source {}: {} empty documents skipped", made.name, empty);
    if (made.bad_records > 0) {
      log::warn("source {}: {} bad records skipped in all", made.name, made.bad_records);
    }
    for (const fs::path& file : input.files) made.files.push_back(file.string());
    return made;
  }

  fs::path parts_directory() const { return options_.directory / ".parts"; }

  /// Tokenizer and options, for the digests of sources and parts.
  std::string made_from() const {
    return fmt::format("{}\n{}", manifest_.tokenizer_content,
                       options_.added_tokens == AddedTokens::as_ids);
  }

  const BuildOptions& options_;
  std::vector<Input> inputs_;
  Manifest manifest_;
};

}  // namespace

std::shared_ptr<const ChatTemplate> chat_of(const CorpusSource& source,
                                            const std::vector<fs::path>& files,
                                            std::string_view text_key) {
  if (source.format == SourceFormat::text) return nullptr;
  const auto is_text = [](const fs::path& file) { return format_of(file) == Format::text; };
  if (source.format == SourceFormat::automatic && !holds_messages(files, text_key)) return nullptr;
  const auto text = std::find_if(files.begin(), files.end(), is_text);
  require_input(text == files.end(),
                "source {}: {} is a text file; a source of messages has JSONL files only",
                source.name, text == files.end() ? "" : text->string());
  return std::make_shared<const ChatTemplate>(find_chat_template(source.chat_template));
}

BuiltCorpus build_corpus(const BuildOptions& options) {
  std::vector<Input> inputs = find_inputs(options);
  std::error_code code;
  fs::create_directories(options.directory, code);
  if (code) {
    fail_input("{}: cannot create the directory: {}", options.directory.string(), code.message());
  }
  const DirectoryLock lock(options.directory);
  return Builder(options, std::move(inputs)).run();
}

}  // namespace bessemer::data

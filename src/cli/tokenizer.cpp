#include "data/tokenizer.h"

#include <charconv>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "data/bpe_trainer.h"
#include "data/byte_alphabet.h"
#include "data/source.h"
#include "data/tokenizer_file.h"
#include "data/tokenizer_json.h"

namespace bessemer::cli {
namespace {

constexpr const char* kTokenizerHelp = "A tokenizer.json, tokenizer.model or tiktoken file";

struct TrainOptions {
  std::int32_t vocabulary = 0;
  std::string out;
  std::string text_key = "text";
  std::vector<std::string> files;
};

int train_tokenizer(const TrainOptions& options) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : options.files) {
    const auto found = data::expand_path(path);
    files.insert(files.end(), found.begin(), found.end());
  }
  data::BpeTrainerOptions trainer_options;
  trainer_options.vocabulary = options.vocabulary;
  data::BpeTrainer trainer(trainer_options);
  constexpr std::size_t kPieceBytes = 1 << 20;
  data::DocumentReader reader(files, {options.text_key, trainer.cuttable() ? kPieceBytes : 0});
  const std::size_t batch = 4 * kPieceBytes * static_cast<std::size_t>(thread_count());
  std::vector<data::Piece> pieces;
  data::Piece piece;
  std::uint64_t bytes = 0;
  std::size_t waiting = 0;  // bytes in `pieces`
  while (reader.next(piece)) {
    bytes += piece.text.size();
    waiting += piece.text.size();
    pieces.push_back(std::move(piece));
    if (waiting < batch) continue;
    trainer.add(pieces);
    pieces.clear();
    waiting = 0;
  }
  trainer.add(pieces);
  const data::Tokenizer tokenizer = trainer.train();
  data::save_tokenizer(tokenizer, options.out);
  log::info("{}: {} tokens, learned from {} documents ({:.1f} MB)", options.out,
            tokenizer.vocabulary_size(), reader.documents(), static_cast<double>(bytes) / 1e6);
  return kDone;
}

struct EncodeOptions {
  std::string tokenizer;
  std::string file;
};

int encode(const EncodeOptions& options) {
  const data::Tokenizer tokenizer = data::load_tokenizer(options.tokenizer);
  const std::string text = options.file.empty() ? read_standard_input() : read_file(options.file);
  fmt::memory_buffer line;
  for (const std::int32_t id : tokenizer.encode(text)) {
    if (line.size() > 0) line.push_back(' ');
    fmt::format_to(std::back_inserter(line), "{}", id);
  }
  line.push_back('\n');
  print({line.data(), line.size()});
  return kDone;
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<std::int32_t> parse_ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  std::size_t at = 0;
  while (true) {
    while (at < text.size() && is_space(text[at])) ++at;
    if (at == text.size()) return ids;
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    std::int32_t id = 0;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (!(code == std::errc() && stop == word.data() + word.size() && id >= 0)) {
      fail_input(
          "standard input: word {}, {:?}, is no token id; expected integers separated by "
          "spaces",
          ids.size() + 1, data::to_alphabet(word.substr(0, 40)));
    }
    ids.push_back(id);
    at = end;
  }
}

int decode(const std::string& path) {
  const data::Tokenizer tokenizer = data::load_tokenizer(path);
  print(tokenizer.decode(parse_ids(read_standard_input())));
  return kDone;
}

void add_train_tokenizer(CLI::App& group, Session& session) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = group.add_subcommand("train", "Learns a byte-level BPE tokenizer from text");
  command->add_option("FILES", options->files, "Text or JSONL (also .gz, .zst), folders or globs")
      ->required()
      ->type_name("PATH");
  command->add_option("--vocabulary", options->vocabulary, "Tokens in all, 257 at least")
      ->required()
      ->type_name("N")
      ->check(between(257, 1 << 24));
  command->add_option("--out", options->out, "The tokenizer.json to write")
      ->required()
      ->type_name("FILE");
  command->add_option("--text-field", options->text_key, "Key of the text in a JSONL object")
      ->type_name("KEY")
      ->capture_default_str();
  command->callback(
      [options, &session] { session.action = [options] { return train_tokenizer(*options); }; });
}

void add_encode(CLI::App& group, Session& session) {
  auto options = std::make_shared<EncodeOptions>();
  CLI::App* command = group.add_subcommand(
      "encode", "Reads a whole text and prints its token ids, separated by spaces");
  command->add_option("--tokenizer", options->tokenizer, kTokenizerHelp)
      ->required()
      ->type_name("FILE");
  command->add_option("FILE", options->file, "The text (standard input)")->type_name("PATH");
  command->callback(
      [options, &session] { session.action = [options] { return encode(*options); }; });
}

void add_decode(CLI::App& group, Session& session) {
  auto tokenizer = std::make_shared<std::string>();
  CLI::App* command = group.add_subcommand(
      "decode", "Reads token ids from standard input and writes exactly the bytes they stand for");
  command->add_option("--tokenizer", *tokenizer, kTokenizerHelp)->required()->type_name("FILE");
  command->callback(
      [tokenizer, &session] { session.action = [tokenizer] { return decode(*tokenizer); }; });
}

}  // namespace

void add_tokenizer(CLI::App& app, Session& session) {
  CLI::App* group = app.add_subcommand("tokenizer", "Trains and applies tokenizers");
  group->require_subcommand(1);
  add_train_tokenizer(*group, session);
  add_encode(*group, session);
  add_decode(*group, session);
}

}  // namespace bessemer::cli

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/run_file.h"
#include "data/build.h"
#include "data/indexed_dataset.h"
#include "data/manifest.h"
#include "plan/report.h"
#include "train/build_meter.h"
#include "train/corpus.h"
#include "train/delivery.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

struct BuildCommand {
  std::vector<std::string> paths;      // without --out: one run file
  std::vector<std::string> overrides;  // --set
  std::string out;
  std::string tokenizer;
  std::int32_t vocabulary = 8192;
  std::string text_key = "text";
  std::string format = "auto";
  std::string chat_template{data::kDefaultChatTemplate};
  bool skip_bad_records = false;
};

data::SourceFormat parse_format(const std::string& name) {
  if (name == "text") return data::SourceFormat::text;
  if (name == "messages") return data::SourceFormat::messages;
  require_input(name == "auto", "--format {:?}: expected auto, text or messages", name);
  return data::SourceFormat::automatic;
}

void show(const std::string& name, const fs::path& prefix, std::uint64_t documents,
          std::uint64_t tokens, const std::string& note) {
  print(fmt::format("{:<16} {:>12} documents {:>14} tokens  {}{}\n", name, documents, tokens,
                    data::bin_path(prefix).string(), note));
}

int build_run(const BuildCommand& command, const Session& session) {
  require_input(command.paths.size() == 1,
                "data build takes one run file, or --out DIR and the corpora");
  require_input(command.tokenizer.empty(),
                "data build RUN.toml: the run file names the tokenizer; use --set data.tokenizer=");
  RunFileOptions run;
  run.path = command.paths.front();
  run.overrides = command.overrides;
  const config::RunConfig config = load_run_file(run, session);
  const train::Corpus corpus = train::prepare_corpus(config);
  print(fmt::format("tokenizer {} ({} tokens)\ntraining  {} tokens\n",
                    corpus.tokenizer_path.string(), corpus.vocabulary, corpus.training_tokens));
  for (const train::ValidationSource& source : corpus.validation) {
    print(fmt::format("validation of {}: {} tokens\n", source.name, source.dataset->tokens()));
  }
  return kDone;
}

int build_directory(const BuildCommand& command) {
  require_input(command.overrides.empty(), "--set needs a run file; with --out there is none");
  data::BuildOptions options;
  options.directory = command.out;
  options.text_key = command.text_key;
  if (command.skip_bad_records) options.on_bad_record = data::OnBadRecord::skip;
  options.vocabulary = command.vocabulary;
  if (!command.tokenizer.empty()) options.tokenizer = command.tokenizer;
  for (const std::string& path : command.paths) {
    const fs::path plain =
        fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
    const std::string file = plain.filename().string();
    options.sources.push_back({file.substr(0, file.find('.', 1)), path,
                               parse_format(command.format), command.chat_template});
  }
  const data::BuiltCorpus built = train::build_shown(options);
  print(fmt::format("tokenizer {}\n", built.tokenizer.string()));
  for (const data::BuiltSource& source : built.sources) {
    show(source.name, source.prefix, source.documents, source.tokens,
         source.reused ? "  (built before)" : "");
    if (source.bad_records > 0)
      print(fmt::format("  {} bad records skipped\n", source.bad_records));
  }
  return kDone;
}

void show_prefix(const fs::path& prefix) {
  const data::IndexedDataset dataset = data::IndexedDataset::open(prefix);
  std::uint64_t longest = 0;
  dataset.visit_lengths([&](std::uint64_t tokens) { longest = std::max(longest, tokens); });
  const double mean = dataset.documents() == 0 ? 0
                                               : static_cast<double>(dataset.tokens()) /
                                                     static_cast<double>(dataset.documents());
  print(
      fmt::format("{}\n  documents  {}\n  tokens     {}\n  mean       {:.1f} tokens a document\n"
                  "  longest    {} tokens\n  stored as  {}, {}\n",
                  data::bin_path(prefix).string(), dataset.documents(), dataset.tokens(), mean,
                  longest, dataset.type() == data::TokenType::uint16 ? "uint16" : "int32",
                  plan::bytes_text(fs::file_size(data::bin_path(prefix)))));
}

int info(const std::string& path) {
  if (!fs::is_directory(path)) {
    show_prefix(path);
    return kDone;
  }
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".idx") found.push_back(entry.path());
  }
  require_input(!found.empty(), "{}: no token files (.idx) in this directory", path);
  std::sort(found.begin(), found.end());
  for (const fs::path& idx : found) show_prefix(idx);
  for (const data::ManifestSource& source : data::read_manifest(path).sources) {
    const double ratio =
        source.tokens == 0 ? 0
                           : static_cast<double>(source.bytes) / static_cast<double>(source.tokens);
    print(fmt::format("source {}: {} bytes of text, {:.2f} bytes a token\n", source.name,
                      source.bytes, ratio));
  }
  return kDone;
}

void add_build(CLI::App& group, Session& session) {
  auto options = std::make_shared<BuildCommand>();
  CLI::App* command = group.add_subcommand(
      "build", "Tokenizes corpora: those of a run file, or PATHS into --out DIR");
  command
      ->add_option("PATHS", options->paths,
                   "A run file; or, with --out: text or JSONL (also .gz, .zst), folders or globs")
      ->required()
      ->type_name("PATH");
  command->add_option("--set", options->overrides, "Sets a key of the run file; repeat it for more")
      ->type_name("section.key=value")
      ->allow_extra_args(false);
  command->add_option("--out", options->out, "Directory for the tokenizer, .bin and .idx files")
      ->type_name("DIR");
  command
      ->add_option("--tokenizer", options->tokenizer,
                   "With --out: the tokenizer to use (one is trained)")
      ->type_name("FILE");
  command
      ->add_option("--vocabulary", options->vocabulary,
                   "With --out: tokens of the tokenizer to train")
      ->type_name("N")
      ->check(between(257, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--text-field", options->text_key,
                   "With --out: key of the text in a JSONL object")
      ->type_name("KEY")
      ->capture_default_str();
  command
      ->add_option("--format", options->format,
                   "With --out: what JSONL records are: auto, text or messages")
      ->type_name("FORMAT")
      ->capture_default_str();
  command
      ->add_option("--template", options->chat_template,
                   "With --out: of conversations: chatml, llama3, mistral, zephyr or a .json file")
      ->type_name("NAME|FILE")
      ->capture_default_str();
  command->add_flag("--skip-bad-records", options->skip_bad_records,
                    "With --out: log and count lines that are no JSON object with a text");
  command->callback([options, &session] {
    session.action = [options, &session] {
      return options->out.empty() ? build_run(*options, session) : build_directory(*options);
    };
  });
}

void add_info(CLI::App& group, Session& session) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = group.add_subcommand("info", "Shows and checks token files");
  command->add_option("PATH", *path, "A .bin/.idx prefix, or a directory of them")
      ->required()
      ->type_name("PREFIX|DIR");
  command->callback([path, &session] { session.action = [path] { return info(*path); }; });
}

// Not for people: how the trainer starts a process that reads a source (data/row_process.h).
void add_serve(CLI::App& group, Session& session) {
  struct Serve {
    std::size_t source = 0;
    train::TokenIds ids;
  };
  auto options = std::make_shared<Serve>();
  CLI::App* command = group.add_subcommand("serve", "Reads a source for a trainer");
  command->group(kHidden);
  command->add_option("SOURCE", options->source, "Its number in the run file")->required();
  command->add_option("END_OF_TEXT", options->ids.end_of_text, "Of its tokens")->required();
  command->add_option("VOCABULARY", options->ids.vocabulary, "One more than the highest id")
      ->required();
  command->callback([options, &session] {
    session.action = [options] {
      train::serve_source(options->source, options->ids);
      return kDone;
    };
  });
}

}  // namespace

void add_data(CLI::App& app, Session& session) {
  CLI::App* group =
      app.add_subcommand("data", "Builds and shows token files, tells what a run reads");
  group->require_subcommand(1);
  add_build(*group, session);
  add_info(*group, session);
  add_data_of_run(*group, session);
  add_serve(*group, session);
}

}  // namespace bessemer::cli

// data which, data stats, data peek: what a run reads.
#include <algorithm>
#include <array>
#include <bit>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "config/parse.h"
#include "data/manifest.h"
#include "train/corpus.h"
#include "train/lineage.h"
#include "train/mixture_report.h"
#include "train/run_state.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

struct RunCommand {
  std::string run;
  std::int64_t step = 1;
  std::int64_t rank = -1;  // all of them
  std::int64_t ranks = 0;  // the run's
  std::int64_t sequences = 2;
  bool json = false;
};

// A run with its data, as it was prepared.
struct Run {
  explicit Run(const fs::path& path)
      : directory(path.has_filename() ? path : path.parent_path()), config(settings(directory)) {
    corpus = train::open_corpus(config);
  }

  static config::RunConfig settings(const fs::path& directory) {
    const fs::path file = directory / "run.toml";
    require_input(fs::exists(file), "{}: no run.toml in it; expected the directory of a run",
                  directory.string());
    config::RunConfig config = config::load_run_config(file);
    config.train.directory = directory.parent_path();  // it may have been moved
    config.train.name = directory.filename().string();
    return config;
  }

  // Steps that its latest checkpoint has behind it.
  std::int64_t steps_done() const {
    const auto latest = checkpoint::find_latest(directory);
    if (!latest) return 0;
    return checkpoint::Checkpoint(*latest).step();
  }

  fs::path directory;
  config::RunConfig config;
  train::Corpus corpus;
};

nlohmann::json to_json(const train::ReadPart& part) {
  return {{"sequence", part.sequence},
          {"offset", part.offset},
          {"tokens", part.tokens},
          {"source", part.source},
          {"file", part.file},
          {"document", part.document},
          {"file_offset", part.file_offset},
          {"byte_begin", part.byte_begin},
          {"byte_end", part.byte_end}};
}

std::vector<train::ReadPart> parts_asked(const Run& run, const RunCommand& command) {
  const std::int64_t ranks = command.ranks > 0 ? command.ranks : run.config.parallel.dp;
  if (command.rank < 0) {
    require_input(command.ranks == 0, "--ranks needs --rank: which of the {}", ranks);
    return train::parts_of_step(run.config, run.corpus, command.step);
  }
  const std::int64_t micro_batch = run.config.train.micro_batch_size.value_or(1);
  return train::parts_of_rank(run.config, run.corpus, command.step,
                              {command.rank, ranks, micro_batch});
}

int which(const RunCommand& command) {
  const Run run(command.run);
  const auto parts = parts_asked(run, command);
  if (command.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const train::ReadPart& part : parts) list.push_back(to_json(part));
    print(list.dump(1) + "\n");
    return kDone;
  }
  print("sequence  tokens         source            document  bytes of its text     file\n");
  for (const train::ReadPart& part : parts) {
    print(fmt::format("{:>8}  {:<13}  {:<16}  {:>8}  {:<20}  {}, from byte {}\n", part.sequence,
                      fmt::format("{}-{}", part.offset, part.offset + part.tokens), part.source,
                      part.document, fmt::format("{}-{}", part.byte_begin, part.byte_end),
                      part.file, part.file_offset));
  }
  return kDone;
}

// ---- stats

constexpr std::size_t kBuckets = 16;

struct Lengths {
  std::array<std::uint64_t, kBuckets> documents{};  // of 2^i to 2^(i+1) - 1 tokens, the last open
  std::uint64_t count = 0, tokens = 0;
};

Lengths lengths_of(const data::IndexedDataset& dataset) {
  Lengths lengths;
  dataset.visit_lengths([&lengths](std::uint64_t tokens) {
    const auto bucket =
        static_cast<std::size_t>(std::bit_width(std::max<std::uint64_t>(tokens, 1)));
    ++lengths.documents[std::min(bucket - 1, kBuckets - 1)];
    ++lengths.count;
    lengths.tokens += tokens;
  });
  return lengths;
}

// Bytes of text a token says: as the build counted, else of a sample of the documents' beginnings.
double bytes_per_token(const Run& run, const train::TrainingSource& source) {
  data::Manifest manifest = data::read_manifest(source.prefix.parent_path());
  const auto* entry = manifest.find(source.prefix.filename().string());
  if (entry != nullptr && entry->tokens > 0) {
    return static_cast<double>(entry->bytes) / static_cast<double>(entry->tokens);
  }
  constexpr std::uint64_t kDocuments = 1000, kTokens = 256;
  std::uint64_t bytes = 0, tokens = 0;
  const std::uint64_t count = source.tokens->documents();
  for (std::uint64_t i = 0; i < std::min(count, kDocuments); ++i) {
    const std::uint64_t d = i * count / std::min(count, kDocuments);
    std::vector<std::int32_t> ids(std::min(source.tokens->length(d), kTokens));
    source.tokens->read(d, 0, ids);
    for (const std::int32_t id : ids) bytes += run.corpus.tokenizer->token_bytes(id).size();
    tokens += ids.size();
  }
  return tokens == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(tokens);
}

// Of Lengths::documents.
std::string histogram(const std::vector<std::uint64_t>& documents) {
  constexpr double kWidth = 50;
  const std::uint64_t most = *std::max_element(documents.begin(), documents.end());
  std::string text;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (documents[i] == 0) continue;
    const double share = static_cast<double>(documents[i]) / static_cast<double>(most);
    text += fmt::format("    {:>6}+ tokens {:>9}  {}\n", std::uint64_t{1} << i, documents[i],
                        std::string(static_cast<std::size_t>(std::max(1.0, kWidth * share)), '#'));
  }
  return text;
}

double share_of(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

// Of token files.
nlohmann::json built_stats(const Run& run, const train::TrainingSource& source) {
  const Lengths lengths = lengths_of(*source.tokens);
  return {{"documents", lengths.count},
          {"tokens", lengths.tokens},
          {"trained_tokens", source.loss ? source.loss->trained() : lengths.tokens},
          {"sequences", source.dataset->sequences()},
          {"padding", source.dataset->padding()},
          {"lengths", lengths.documents},
          {"bytes_per_token", bytes_per_token(run, source)}};
}

// Of a raw source: what is known from the blocks that were read.
nlohmann::json raw_stats(const data::RawDataset& raw, std::int64_t sequence_length) {
  const data::BlockTotals known = raw.known();
  const auto positions =
      static_cast<double>(known.sequences) * static_cast<double>(sequence_length);
  return {{"documents", known.documents},
          {"tokens", known.tokens},
          {"trained_tokens", known.trained},
          {"sequences", known.sequences},
          {"padding", share_of(static_cast<double>(known.padding), positions)},
          {"lengths", known.lengths},
          {"bytes_per_token",
           share_of(static_cast<double>(known.text_bytes), static_cast<double>(known.tokens))},
          {"bad_records", known.bad_records},
          {"blocks", raw.source().table().blocks.size()},
          {"blocks_read", known.blocks},
          {"records", raw.source().table().records}};
}

// Epochs of a raw source that was not read through once are shares of its blocks.
double epochs_of(const nlohmann::json& stats, std::uint64_t read) {
  const double epochs = share_of(static_cast<double>(read), stats["sequences"].get<double>());
  if (!stats.contains("blocks")) return epochs;
  return epochs * share_of(stats["blocks_read"].get<double>(), stats["blocks"].get<double>());
}

nlohmann::json stats_of(const Run& run, std::size_t index, const train::SourceShare& read) {
  const train::TrainingSource& source = run.corpus.sources[index];
  nlohmann::json json = source.raw ? raw_stats(*source.raw, run.config.data.sequence_length)
                                   : built_stats(run, source);
  json["source"] = source.name;
  json["read_sequences"] = read.sequences;
  json["read_share"] = read.share;
  json["asked_share"] = read.asked;
  json["epochs"] = epochs_of(json, read.sequences);
  json["trained_share"] =
      share_of(json["trained_tokens"].get<double>(), json["tokens"].get<double>());
  return json;
}

std::string describe(const nlohmann::json& s) {
  std::string text = fmt::format(
      "\nsource {}\n  read          {} sequences, {:.2f}% of all (asked {:.2f}%), {:.3f} epochs\n",
      s["source"].get<std::string>(), s["read_sequences"].get<std::uint64_t>(),
      100 * s["read_share"].get<double>(), 100 * s["asked_share"].get<double>(),
      s["epochs"].get<double>());
  if (s.contains("blocks")) {
    text += fmt::format(
        "  on the fly    {} documents in {} blocks, of which {} were tokenized so far:\n",
        s["records"].get<std::uint64_t>(), s["blocks"].get<std::uint64_t>(),
        s["blocks_read"].get<std::uint64_t>());
  }
  const auto lengths = s["lengths"].get<std::vector<std::uint64_t>>();
  return text + fmt::format(
                    "  documents     {}\n  tokens        {}, {:.2f} bytes each, {:.2f}% of them "
                    "trained\n"
                    "  packed        {} sequences, {:.2f}% padding\n  documents by length\n{}",
                    s["documents"].get<std::uint64_t>(), s["tokens"].get<std::uint64_t>(),
                    s["bytes_per_token"].get<double>(), 100 * s["trained_share"].get<double>(),
                    s["sequences"].get<std::uint64_t>(), 100 * s["padding"].get<double>(),
                    histogram(lengths));
}

int stats(const RunCommand& command) {
  const Run run(command.run);
  const std::int64_t steps = run.steps_done();
  const auto all = static_cast<std::uint64_t>(steps * *run.config.train.global_batch_size);
  const auto read = train::mixture_shares(run.config, run.corpus.training->schedule(), all);
  nlohmann::json sources = nlohmann::json::array();
  for (std::size_t i = 0; i < read.size(); ++i) sources.push_back(stats_of(run, i, read[i]));
  if (command.json) {
    print(nlohmann::json{{"steps", steps}, {"sequences", all}, {"sources", sources}}.dump(1) +
          "\n");
    return kDone;
  }
  print(fmt::format("{}: {} steps, {} sequences of {} tokens\n", run.directory.string(), steps, all,
                    run.config.data.sequence_length));
  for (const nlohmann::json& source : sources) print(describe(source));
  return kDone;
}

// ---- peek

// The text of a part; tokens that nothing predicts stand in «».
std::string part_text(const Run& run, const std::vector<std::int32_t>& tokens,
                      const std::vector<std::int32_t>& targets, const train::ReadPart& part) {
  std::string text;
  bool marked = false;
  for (std::int64_t t = part.offset; t < part.offset + part.tokens; ++t) {
    const bool predicted = t > part.offset && targets[static_cast<std::size_t>(t - 1)] >= 0;
    if (marked == predicted) text += marked ? "»" : "«";
    marked = !predicted;
    text += run.corpus.tokenizer->token_bytes(tokens[static_cast<std::size_t>(t)]);
  }
  return text + (marked ? "»" : "");
}

int peek(const RunCommand& command) {
  const Run run(command.run);
  const auto parts = train::parts_of_step(run.config, run.corpus, command.step);
  const auto length = static_cast<std::size_t>(run.config.data.sequence_length);
  const std::int64_t batch = *run.config.train.global_batch_size;
  std::vector<std::int32_t> tokens(length), targets(length), positions(length),
      visibility(2 * length);
  for (std::int64_t s = 0; s < std::min(command.sequences, batch); ++s) {
    const auto index = static_cast<std::uint64_t>((command.step - 1) * batch + s);
    const std::int64_t valid =
        run.corpus.training->read(index, {tokens, targets, positions, visibility});
    print(fmt::format("=== step {}, sequence {}: {} of {} positions are predicted from\n",
                      command.step, s, valid, length));
    for (const train::ReadPart& part : parts) {
      if (part.sequence != s) continue;
      print(fmt::format("--- {}, document {}, bytes {}-{}, {} tokens\n{}\n", part.source,
                        part.document, part.byte_begin, part.byte_end, part.tokens,
                        part_text(run, tokens, targets, part)));
    }
  }
  return kDone;
}

CLI::App* add_command(CLI::App& group, Session& session, const char* name, const char* about,
                      const std::shared_ptr<RunCommand>& options,
                      int (*action)(const RunCommand&)) {
  CLI::App* command = group.add_subcommand(name, about);
  command->add_option("RUN", options->run, "The directory of a run")->required()->type_name("DIR");
  command->callback(
      [options, &session, action] { session.action = [=] { return action(*options); }; });
  return command;
}

}  // namespace

void add_data_of_run(CLI::App& group, Session& session) {
  const auto positive = between(std::int64_t{1}, std::int64_t{1} << 40);
  auto options = std::make_shared<RunCommand>();
  CLI::App* command =
      add_command(group, session, "which",
                  "Source, file, document and bytes of every token of a step", options, which);
  command->add_option("--step", options->step, "Counted from 1")
      ->required()
      ->type_name("N")
      ->check(positive);
  command
      ->add_option("--rank", options->rank,
                   "Only what this rank takes, from 0, in its order (all ranks')")
      ->type_name("R")
      ->check(between(std::int64_t{0}, std::int64_t{1} << 24));
  command
      ->add_option("--ranks", options->ranks,
                   "With --rank: as if the step were dealt to so many (the run's)")
      ->type_name("N")
      ->check(between(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_flag("--json", options->json, "As a list of objects");

  options = std::make_shared<RunCommand>();
  command = add_command(group, session, "stats",
                        "Of each source of a run: documents, tokens, epochs, padding, lengths",
                        options, stats);
  command->add_flag("--json", options->json, "As one object");

  options = std::make_shared<RunCommand>();
  command = add_command(group, session, "peek",
                        "Sequences of a step as text, with the borders of documents; what is not "
                        "predicted stands in «»",
                        options, peek);
  command->add_option("--step", options->step, "Counted from 1")
      ->type_name("N")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--sequences", options->sequences, "How many of the step")
      ->type_name("N")
      ->check(positive)
      ->capture_default_str();
}

}  // namespace bessemer::cli

#include "config/parse.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::config {
namespace {

// The least a run needs; tests append to it, so new sections start a line of their own.
constexpr char kLeast[] =
    "[model]\narchitecture = \"llama\"\nlayers = 4\nhidden = 128\nheads = 4\n"
    "[data]\npath = \"my.txt\"\n"
    "[train]\nsteps = 300\n";  // lines 1 to 9

RunConfig least() { return parse_run_config(kLeast, "first.toml"); }

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_run_config(text, "run.toml", overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(ParseRunConfig, SmallestRunFileReadsWithAllElseDefaulted) {
  const RunConfig config =
      load_run_config(std::filesystem::path(BESSEMER_SOURCE_DIR) / "examples/smallest.toml");
  EXPECT_EQ(config.model.architecture, Architecture::llama);
  EXPECT_EQ(config.model.layers, 4);
  EXPECT_EQ(config.model.kv_heads, 2);
  EXPECT_EQ(config.model.context, std::nullopt);
  ASSERT_EQ(config.data.sources.size(), 1u);
  EXPECT_EQ(config.data.sources[0], (DataSource{"my", "my.txt", 1.0}));
  EXPECT_EQ(config.data.sequence_length, 128);
  EXPECT_EQ(config.data.vocabulary, 2048);
  EXPECT_EQ(config.data.seed, 0u);
  EXPECT_EQ(config.train.steps, 300);
  EXPECT_EQ(config.train.global_batch_size, 8);
  EXPECT_EQ(config.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(config.optimizer.min_learning_rate, 1e-4);
  EXPECT_EQ(config.optimizer.warmup_steps, 6);
  EXPECT_EQ(config.optimizer.decay_steps, 294);
  EXPECT_EQ(config.precision.recipe, Recipe::bf16);
  EXPECT_EQ(config.checkpoint.every, 100);
  EXPECT_EQ(config.run_directory(), "runs/first");
}

TEST(ParseRunConfig, FillsInWhatFollowsFromOtherKeys) {
  const RunConfig config = least();
  EXPECT_EQ(config.train.name, "first");                   // of first.toml
  EXPECT_EQ(config.train.micro_batch_size, std::nullopt);  // left to the planner of memory
  EXPECT_EQ(config.train.global_batch_size, 1);
  const auto given =
      parse_run_config(kLeast, "x", std::vector<std::string>{"train.micro_batch_size=3"});
  EXPECT_EQ(given.train.global_batch_size, 3);
  EXPECT_EQ(config.data.vocabulary, 8192);
  EXPECT_EQ(parse_run_config(std::string(kLeast) + "[run]\nseed = 7\n", "x").data.seed, 7u);
  const auto with_tokenizer =
      parse_run_config(kLeast, "x", std::vector<std::string>{"data.tokenizer=tokenizer.json"});
  EXPECT_EQ(with_tokenizer.data.vocabulary, std::nullopt);
}

TEST(ParseRunConfig, ReadsASourceMixtureInOrder) {
  std::string text = "[model]\nfrom = \"hf\"\n[train]\nsteps = 1\n";
  for (int i = 0; i < 12; ++i)
    text += "[[data.source]]\npath = \"c/p" + std::to_string(i) +
            ".jsonl.gz\"\nweight = " + std::to_string(i + 1) + "\n";
  const RunConfig config = parse_run_config(text, "run.toml");
  ASSERT_EQ(config.data.sources.size(), 12u);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(config.data.sources[static_cast<std::size_t>(i)].name, "p" + std::to_string(i));
    EXPECT_EQ(config.data.sources[static_cast<std::size_t>(i)].weight, i + 1.0);
  }
}

TEST(ParseRunConfig, AliasesAreTheSameKeys) {
  const RunConfig config =
      parse_run_config(std::string(kLeast) + "[optimizer]\nlr = 1\nmax_norm = 0.5\n", "run.toml");
  EXPECT_EQ(config.optimizer.learning_rate, 1.0);
  EXPECT_EQ(config.optimizer.gradient_clip, 0.5);
}

TEST(TotalSteps, TakesTheFirstOfStepsAndTokens) {
  RunConfig config;
  config.data.sequence_length = 100;
  config.train.micro_batch_size = 2;
  config.train.global_batch_size = 10;
  EXPECT_THROW(total_steps(config), Error);
  config.train.max_tokens = 1000;
  EXPECT_EQ(total_steps(config), 1);
  config.train.max_tokens = 1001;
  EXPECT_EQ(total_steps(config), 2);
  config.train.steps = 1;
  EXPECT_EQ(total_steps(config), 1);
  config.train.max_tokens.reset();
  config.train.steps = 5;
  EXPECT_EQ(total_steps(config), 5);
}

struct Mistake {
  std::string added;    // to kLeast, so from line 10 on
  std::string message;  // the whole of it
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.added; }

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, NameTheirLineAndTheRemedy) {
  EXPECT_EQ(error_of(kLeast + GetParam().added), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    RunFile, Mistakes,
    testing::Values(
        Mistake{"learning_rat = 1\n",
                "run.toml:10: train.learning_rat: unknown key; did you mean learning_rate? It "
                "belongs in [optimizer]"},
        Mistake{"learning_rate = 1\n",
                "run.toml:10: train.learning_rate: unknown key; learning_rate belongs in "
                "[optimizer]"},
        Mistake{"[optimizer]\nlearning_rat = 1\n",
                "run.toml:11: optimizer.learning_rat: unknown key; did you mean learning_rate?"},
        Mistake{"xyzzy = 1\n", "run.toml:10: train.xyzzy: unknown key"},
        Mistake{"[optimiser]\nlr = 1\n",
                "run.toml:10: optimiser: unknown section; did you mean [optimizer]?"},
        Mistake{"[empty_one]\n", "run.toml:10: empty_one: unknown section"},
        Mistake{"[data.sources]\nname = 1\n",
                "run.toml:10: data.sources: unknown key; did you mean source? A mixture is "
                "[[data.source]] tables"},
        Mistake{"micro_batch_size = \"4\"\n",
                "run.toml:10: train.micro_batch_size: expected an integer from 1 to 16777216, "
                "found \"4\""},
        Mistake{"micro_batch_size = 1.5\n",
                "run.toml:10: train.micro_batch_size: expected an integer from 1 to 16777216, "
                "found 1.5"},
        Mistake{"max_skipped_steps = 0\n",
                "run.toml:10: train.max_skipped_steps: expected an integer of at least 1, found 0"},
        Mistake{"sample_tokens = [1]\n",
                "run.toml:10: train.sample_tokens: expected an integer from 1 to 16777216, found "
                "an array, a table or a date"},
        Mistake{"[train.sample_tokens]\na = 1\n",
                "run.toml:10: train.sample_tokens: expected an integer from 1 to 16777216, found a "
                "table"},
        Mistake{"[optimizer]\nlearning_rate = nan\n",
                "run.toml:11: optimizer.learning_rate: expected a number of at least 0, found nan"},
        Mistake{"[optimizer]\nbeta1 = 1\n",
                "run.toml:11: optimizer.beta1: expected a number of at least 0 and below 1, found "
                "1"},
        Mistake{"[optimizer]\nlr = 1\nlearning_rate = 1\n",
                "run.toml:11: optimizer.lr: optimizer.learning_rate is the same key, set at "
                "run.toml:12"},
        Mistake{"[optimizer]\nschedule = \"cosin\"\n",
                "run.toml:11: optimizer.schedule: expected \"constant\" or \"linear\" or "
                "\"cosine\" or \"wsd\", found \"cosin\""},
        Mistake{"[precision]\nparameters = \"bf16\"\n",
                "run.toml:11: precision.parameters: parameters = \"bf16\" needs recipe = \"bf16\" "
                "or \"fp8\", and it is \"fp32\""},
        Mistake{"[memory]\nrecompute = \"some\"\n",
                "run.toml:11: memory.recompute: expected \"none\" or \"full\" or "
                "\"selective\" or \"auto\", found \"some\""},
        Mistake{"[memory]\ndevice = \"2 apples\"\n",
                "run.toml:11: memory.device: expected a size such as \"2GiB\" or a number of "
                "bytes, found \"2 apples\""},
        Mistake{"[memory]\noffload = [\"optimiser\"]\n",
                "run.toml:11: memory.offload: expected a list of \"optimizer\", \"gradients\", "
                "\"parameters\", \"activations\", each maybe with \":host\" or \":file\" after it, "
                "found [\"optimiser\"]"},
        Mistake{"[memory]\noffload = [\"optimizer:file\"]\n",
                "run.toml:11: memory.offload: \"optimizer:file\" needs file = "
                "\"/directory:SIZE\" in [memory]"},
        Mistake{"[memory]\noffload = [\"gradients\", \"gradients:host\"]\n",
                "run.toml:11: memory.offload: \"gradients\" stands there twice"},
        Mistake{"[memory]\nfile = \"64GiB\"\n",
                "run.toml:11: memory.file: expected a directory and a size, such as "
                "\"/scratch:64GiB\", found \"64GiB\""},
        Mistake{"[parallel]\ndp = 2\n",
                "run.toml:11: parallel.dp: expected 1 (other degrees are not built yet), found 2"},
        Mistake{
            "[run]\ndevice = \"gpu\"\n",
            "run.toml:11: run.device: expected \"cpu\", \"cuda\", \"cuda:N\" or \"auto\", found "
            "\"gpu\""},
        Mistake{
            "[run]\ndevice = \"cuda:-1\"\n",
            "run.toml:11: run.device: expected \"cpu\", \"cuda\", \"cuda:N\" or \"auto\", found "
            "\"cuda:-1\""},
        Mistake{"micro_batch_size = 4\nglobal_batch_size = 6\n",
                "run.toml:11: train.global_batch_size: global_batch_size = 6 is not a multiple of "
                "micro_batch_size = 4"},
        Mistake{"name = \"a/b\"\n", "run.toml:10: train.name: a/b cannot name a directory"},
        Mistake{"[[data.source]]\npath = \"b\"\n",
                "run.toml:7: data.path: data.path is short for one [[data.source]], and there are "
                "such tables too; keep one"},
        Mistake{"[model.rope_scaling]\ntype = \"llama3\"\n",
                "run.toml:11: model.rope_scaling.type: llama3 scaling needs original_context, the "
                "context before stretching"},
        Mistake{"[optimizer]\nwarmup_steps = 301\n",
                "run.toml:11: optimizer.warmup_steps: 301 steps of warm-up do not fit the run's "
                "300 steps"},
        Mistake{"[optimizer]\nmin_learning_rate = 1\n",
                "run.toml:11: optimizer.min_learning_rate: min_learning_rate = 1 is above "
                "learning_rate = 0.0003"},
        Mistake{"[precision]\nrecipe = \"fp8\"\nfp8_scaling = \"delayed\"\n[optimizer]\n"
                "update = \"speculative\"\n",
                "run.toml:12: precision.fp8_scaling: \"delayed\" scaling needs optimizer.update = "
                "\"synchronous\", found \"speculative\"; set that, or fp8_scaling = \"current\" or "
                "\"block\""},
        Mistake{"[run]\nthreads = 1\nseed = = 2\n",
                "run.toml:12: not valid TOML: Error while parsing value: could not determine "
                "value type"}));

TEST(ParseRunConfig, ReportsAllMistakesByLine) {
  EXPECT_EQ(error_of("[model]\narchitecture = \"llama\"\nlayers = 2\nhidden = 130\nheads = 4\n"
                     "kv_heads = 3\n[data]\nsequence_length = 0\n[train]\nstpes = 3\n"),
            "run.toml:4: model.hidden: hidden = 130 is not a multiple of heads = 4 (or set "
            "head_dim)\n"
            "run.toml:6: model.kv_heads: 3 key-value heads do not divide 4 heads\n"
            "run.toml:8: data.sequence_length: expected an integer from 1 to 16777216, found 0\n"
            "run.toml:10: train.stpes: unknown key; did you mean steps?\n"
            "run.toml: data.path: missing; give path = \"my.txt\" in [data], or [[data.source]] "
            "tables");
}

TEST(ParseRunConfig, AnEmptyFileSaysWhatIsMissing) {
  EXPECT_EQ(error_of(""),
            "run.toml: model.architecture: missing; give architecture = \"gpt2\" or \"llama\" in "
            "[model] (or config = \"config.json\", or from = \"hf-directory\")\n"
            "run.toml: data.path: missing; give path = \"my.txt\" in [data], or [[data.source]] "
            "tables\n"
            "run.toml: train.steps: missing; give steps (or max_tokens) in [train]");
}

TEST(ParseRunConfig, SourcesAreChecked) {
  const std::string head = "[model]\nfrom = \"hf\"\n[train]\nsteps = 1\n";
  EXPECT_EQ(error_of(head + "[[data.source]]\npath = \"a/x.txt\"\n[[data.source]]\n"
                            "path = \"b/x.txt\"\n"),
            "run.toml:8: data.source[1].path: two sources are named x; give each its own name");
  EXPECT_EQ(error_of(head + "[[data.source]]\nname = \"x\"\n"),
            "run.toml:6: data.source[0].name: missing; source 1 has no path");
  EXPECT_EQ(error_of(head + "[[data.source]]\npath = \"x\"\nwieght = 2\n"),
            "run.toml:7: data.source[0].wieght: unknown key; did you mean weight?");
  EXPECT_EQ(error_of(head + "[data]\nsource = \"x\"\n"),
            "run.toml:6: data.source: expected [[data.source]] tables with name, path and weight");
}

TEST(ParseRunConfig, HostileFilesAreRefused) {
  std::string dotted = "a";
  for (int i = 0; i < 100'000; ++i) dotted += ".a";
  EXPECT_NE(error_of(dotted + " = 1").find("dots in a key"), std::string::npos);
  EXPECT_NE(error_of("[" + dotted + "]").find("dots in a key"), std::string::npos);
  EXPECT_NE(error_of(std::string(200'000, '[')).find("not valid TOML"), std::string::npos);
  EXPECT_NE(error_of("a = " + std::string(200'000, '[')).find("not valid TOML"), std::string::npos);
  EXPECT_NE(error_of(std::string(2 << 20, ' ')).find("at most"), std::string::npos);
  EXPECT_NE(error_of("[data]\n\"source[99999999999]\".path = 1\n").find("unknown"),
            std::string::npos);
  EXPECT_NE(error_of("[tr\xff]\n").find("not valid TOML"), std::string::npos);
}

}  // namespace
}  // namespace bessemer::config

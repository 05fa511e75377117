// One small model through every command that uses a run.

#include "base/rng.h"
#include "cli/calibrated_command.h"

namespace bessemer::cli {
namespace {

constexpr const char* kRun = R"([model]
architecture = "llama"
layers = 1
hidden = 32
heads = 2
kv_heads = 1
[data]
path = "my.txt"
sequence_length = 16
vocabulary = 270
validation_fraction = 0.1
[train]
name = "first"
steps = 2
evaluate_every = 0
[log]
level = "warn"
)";

class RunTest : public CalibratedCommandTest {
 protected:
  void SetUp() override {
    CalibratedCommandTest::SetUp();
    std::string text;
    for (int i = 0; i < 100; ++i) text += "the cat sat on the mat, then the rat sat there\n";
    write("my.txt", text);
    write("run.toml", kRun);
  }

  void expect_done(const std::vector<std::string>& arguments) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kDone) << arguments.front() << ": " << outcome.err;
  }
  std::string greedy(const std::string& directory) {
    const Outcome outcome = run(
        {"generate", directory, "--prompt", "the cat", "--max-tokens", "6", "--temperature", "0"});
    EXPECT_EQ(outcome.code, kDone) << outcome.err;
    return outcome.out;
  }
};

TEST_F(RunTest, AModelGoesThroughEveryCommand) {
  expect_done({"train", "run.toml"});
  const std::string text = greedy("runs/first");
  EXPECT_TRUE(text.starts_with("the cat")) << text;
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(greedy("runs/first/checkpoints/step_000002"), text);

  const Outcome eval = run({"eval", "runs/first", "--data", "my.txt", "--batch", "3"});
  EXPECT_EQ(eval.code, kDone) << eval.err;
  EXPECT_NE(eval.out.find("bits per byte  "), std::string::npos) << eval.out;

  expect_done({"export", "runs/first", "hf"});
  EXPECT_EQ(greedy("hf"), text) << "an export generates what the run does";
  const Outcome again = run({"export", "hf", "hf2"});
  EXPECT_EQ(again.code, kUserError);
  EXPECT_NE(again.err.find("Hugging Face directory already"), std::string::npos) << again.err;

  expect_done({"import", "hf", "runs/imported"});
  EXPECT_EQ(greedy("runs/imported"), text) << "so does what is imported from that";
  EXPECT_EQ(run({"import", "hf", "runs/imported"}).code, kUserError);

  const Outcome shown = run({"inspect", "runs/imported"});
  EXPECT_EQ(shown.code, kDone) << shown.err;
  EXPECT_NE(shown.out.find("step 0\nchecksums: good\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("layers.0.attention.q.weight"), std::string::npos) << shown.out;
}

TEST_F(RunTest, TrainingGoesOnFromAnImport) {
  expect_done({"train", "run.toml"});
  expect_done({"export", "runs/first", "hf"});
  expect_done({"import", "hf", "runs/imported"});
  expect_done({"train", "run.toml", "--set", "train.name=second", "--resume",
               "runs/imported/checkpoints/step_000000"});
  EXPECT_TRUE(std::filesystem::exists("runs/second/checkpoints/step_000002"));
}

TEST_F(RunTest, AFlippedBitIsFound) {
  expect_done({"train", "run.toml"});
  const std::string path = "runs/first/checkpoints/step_000002/tensors.safetensors";
  std::string bytes = read_file(path);
  bytes[bytes.size() - 5] = static_cast<char>(bytes[bytes.size() - 5] ^ 1);
  write(path, bytes);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", "runs/first"},
        {"generate", "runs/first", "--prompt", "x"},
        {"train", "run.toml", "--set", "train.steps=3"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUserError) << arguments.front();
    EXPECT_NE(outcome.err.find("tensors.safetensors"), std::string::npos) << outcome.err;
  }
}

TEST_F(RunTest, OtherSettingsAreRefusedAndChangeNothing) {
  expect_done({"train", "run.toml"});
  const std::vector<std::string> before = files();
  std::vector<std::string> contents;
  for (const char* name : {"run.toml", "plan.txt", "config.json", "tokenizer.json", "metrics.jsonl",
                           "data/tokenizer.json"}) {
    contents.push_back(read_file(std::filesystem::path("runs/first") / name));
  }
  const Outcome outcome = run({"train", "run.toml", "--set", "data.vocabulary=265"});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("made with other settings"), std::string::npos) << outcome.err;
  EXPECT_EQ(files(), before);
  std::size_t i = 0;
  for (const char* name : {"run.toml", "plan.txt", "config.json", "tokenizer.json", "metrics.jsonl",
                           "data/tokenizer.json"}) {
    EXPECT_EQ(read_file(std::filesystem::path("runs/first") / name), contents[i++]) << name;
  }
}

TEST_F(RunTest, AMissingCorpusCreatesNothing) {
  std::filesystem::remove("my.txt");
  const std::vector<std::string> before = files();
  const Outcome outcome = run({"train", "run.toml"});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("my.txt"), std::string::npos) << outcome.err;
  EXPECT_EQ(files(), before);
}

}  // namespace
}  // namespace bessemer::cli

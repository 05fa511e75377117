// Mistakes: exit status 2, a message that names thing and place, and nothing created.
#include <nlohmann/json.hpp>

#include "cli/command.h"

namespace bessemer::cli {
namespace {

using ErrorsTest = CommandTest;

constexpr const char* kRun = R"([model]
architecture = "llama"
layers = 1
hidden = 32
heads = 2
[data]
path = "my.txt"
sequence_length = 16
vocabulary = 300
[train]
name = "first"
steps = 3
)";

struct Case {
  std::vector<std::string> arguments;
  std::string message;  // a part of what is told
};

TEST_F(ErrorsTest, CommandLinesThatAreWrong) {
  const Case cases[] = {
      {{}, "bessemer needs a command: train, plan"},
      {{"trian", "run.toml"}, "'trian' is no command of bessemer; did you mean train?"},
      {{"fly"}, "'fly' is no command of bessemer; expected one of train, plan"},
      {{"tokenizer"}, "bessemer tokenizer needs a command: train, encode, decode"},
      {{"data", "bild"}, "'bild' is no command of bessemer data; did you mean build?"},
      {{"train"}, "RUN is required"},
      {{"plan", "run.toml", "--jsno"}, "--jsno"},
      {{"plan", "run.toml", "extra"}, "extra"},
      {{"generate", "runs/first"}, "--prompt is required"},
      {{"generate", "d", "--prompt", "x", "--top-p", "1.5"}, "1.5"},
      {{"generate", "d", "--prompt", "x", "--max-tokens", "many"}, "many"},
      {{"tokenizer", "train", "--vocabulary", "12", "--out", "t.json", "a"}, "12"},
      {{"--log-level", "loud", "doctor"}, "log level 'loud'"},
  };
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUserError) << message;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << message << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "") << message;
    EXPECT_EQ(files(), std::vector<std::string>{}) << message;
  }
}

TEST_F(ErrorsTest, FilesThatAreNotThere) {
  const Case cases[] = {
      {{"train", "run.toml"}, "run.toml"},
      {{"plan", "run.toml"}, "run.toml"},
      {{"generate", "runs/first", "--prompt", "x"}, "runs/first: no such directory"},
      {{"eval", "runs/first", "--data", "x.txt"}, "runs/first: no such directory"},
      {{"tokenizer", "encode", "--tokenizer", "t.json"}, "t.json"},
      {{"tokenizer", "decode", "--tokenizer", "t.json"}, "t.json"},
      {{"tokenizer", "train", "--vocabulary", "300", "--out", "t.json", "a.txt"}, "a.txt"},
      {{"data", "info", "corpus"}, "corpus"},
      {{"import", "hf", "runs/new"}, "hf"},
      {{"export", "runs/first", "hf"}, "runs/first: no such directory"},
      {{"inspect", "runs/first"}, "runs/first: no such file or directory"},
  };
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUserError) << message;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << message << "\n" << outcome.err;
    EXPECT_EQ(files(), std::vector<std::string>{}) << message;
  }
}

TEST_F(ErrorsTest, RunFilesThatAreWrong) {
  const std::string run_file = kRun;
  const std::pair<std::string, std::string> cases[] = {
      {run_file + "learning_rat = 1\n", "run.toml:13: train.learning_rat: unknown key"},
      {run_file + "= 3\n", "run.toml:13"},
      {run_file + "micro_batch_size = \"two\"\n", "run.toml:13: train.micro_batch_size"},
  };
  for (const auto& [text, message] : cases) {
    write("run.toml", text);
    for (const char* command : {"train", "plan"}) {
      const Outcome outcome = run({command, "run.toml"});
      EXPECT_EQ(outcome.code, kUserError) << message;
      EXPECT_TRUE(outcome.err.starts_with(message)) << message << "\n" << outcome.err;
      EXPECT_EQ(files(), std::vector<std::string>{"run.toml"}) << message;
    }
  }
}

TEST_F(ErrorsTest, OverridesAndPassesThatAreWrong) {
  write("run.toml", kRun);
  const Case cases[] = {
      {{"plan", "run.toml", "--set", "train.stepz=3"}, "train.stepz"},
      {{"plan", "run.toml", "--set", "train.steps=-3"}, "train.steps"},
      {{"plan", "run.toml", "--set", "data.tokenizer=t.json"}, "data.tokenizer names one"},
      {{"plan", "run.toml", "--dump-graph", "after:fusion"}, "PASS one of differentiate"},
      {{"plan", "run.toml", "--dump-graph", "order"}, "expected after:PASS"},
      {{"plan", "run.toml", "--set", "memory.device=4KiB"}, "does not fit"},
      {{"train", "run.toml", "--resume", "nowhere"}, "--resume nowhere"},
      {{"plan", "run.toml", "--set", "run.device=cuda:7"}, "run.device = \"cuda:7\": "},
      {{"plan", "run.toml", "--machine", "b9000"}, "known are a100-40gb, "},
      {{"plan", "run.toml", "--machine", "h100", "--set", "memory.file=.:1GiB"},
       "a CUDA device does not reach files"},
  };
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kUserError) << message;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << message << "\n" << outcome.err;
    EXPECT_EQ(files(), std::vector<std::string>{"run.toml"}) << message;
  }
}

TEST_F(ErrorsTest, PlanningNeedsNoDataAndWritesNothing) {
  write("run.toml", kRun);
  const Outcome text = run({"plan", "run.toml", "--set", "train.global_batch_size=3"});
  EXPECT_EQ(text.code, kDone) << text.err;
  EXPECT_NE(text.out.find("predicted step"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("in 1 micro-batch of 3"), std::string::npos) << text.out;
  const Outcome given = run({"plan", "run.toml", "--set", "train.global_batch_size=3", "--set",
                             "train.micro_batch_size=1"});
  EXPECT_NE(given.out.find("in 3 micro-batches of 1"), std::string::npos) << given.out;
  EXPECT_EQ(files(), std::vector<std::string>{"run.toml"});
}

TEST_F(ErrorsTest, PlanningForACudaDeviceNeedsNone) {
  write("run.toml", kRun);
  const Outcome outcome = run({"plan", "run.toml", "--machine", "h100"});
  EXPECT_EQ(outcome.code, kDone) << outcome.err;
  for (const char* part : {"h100 (assumed from its data sheet)", "cuda.attention_grad",
                           "cuda.linear_cross_entropy_train", "predicted step"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << outcome.out;
  }
  EXPECT_EQ(outcome.out.find("reference"), std::string::npos) << outcome.out;
  EXPECT_EQ(files(), std::vector<std::string>{"run.toml"});
}

TEST_F(ErrorsTest, APlanAsJsonStaysJsonWithGraphsInIt) {
  write("run.toml", kRun);
  const Outcome outcome =
      run({"plan", "run.toml", "--json", "--dump-graph", "after:differentiate"});
  ASSERT_EQ(outcome.code, kDone) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_GT(json["peak_bytes"]["device"], 0);
  EXPECT_GT(json["step_seconds"], 0);
  ASSERT_EQ(json["graphs"].size(), 1u);
  EXPECT_EQ(json["graphs"][0]["after"], "differentiate");
}

TEST_F(ErrorsTest, AWriterToAClosedPipeEndsQuietly) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  std::fflush(stdout);
  const int saved = ::dup(STDOUT_FILENO);
  ::dup2(ends[1], STDOUT_FILENO);
  ::close(ends[1]);
  const char* argv[] = {"bessemer", "--help"};
  const int code = cli::run(2, argv);
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  std::clearerr(stdout);
  EXPECT_EQ(code, kDone);
}

}  // namespace
}  // namespace bessemer::cli

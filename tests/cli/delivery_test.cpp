// Runs of the built program whose sequences come from threads and from processes.
#include <csignal>
#include <cstdlib>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cost/machine.h"
#include "train/compile.h"

namespace bessemer::cli {
namespace {

constexpr const char* kRun = R"([model]
architecture = "gpt2"
layers = 1
hidden = 16
heads = 2
[data]
sequence_length = 16
vocabulary = 270
cache = "data"
[[data.source]]
name = "cats"
path = "cats.txt"
[[data.source]]
name = "dogs"
path = "dogs.txt"
weight = 0.5
[train]
steps = 6
micro_batch_size = 2
global_batch_size = 4
evaluate_every = 0
)";

class DeliveryTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (directory() / "cache").c_str(), 1);
    cost::save(cost::describe_here(), train::calibration_path());
    for (const char* animal : {"cat", "dog"}) {
      std::string text;
      for (int i = 0; i < 100; ++i) {
        text += fmt::format("the {} sat {} times\n<|endoftext|>", animal, i);
      }
      write(fmt::format("{}s.txt", animal), text);
    }
    write("run.toml", kRun);
  }
  void TearDown() override {
    ::unsetenv("XDG_CACHE_HOME");
    CommandTest::TearDown();
  }

  /// Exit status of the built program.
  static int program(const std::string& arguments) {
    const std::string command = BESSEMER_BINARY_DIR "/bessemer " + arguments + " 2>log.txt";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  static std::vector<double> losses(const std::string& run) {
    std::vector<double> all;
    std::ifstream metrics("runs/" + run + "/metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      all.push_back(nlohmann::json::parse(line)["loss"]);
    }
    return all;
  }
};

TEST_F(DeliveryTest, ProcessesGiveWhatThreadsGive) {
  ASSERT_EQ(program("train run.toml --set train.name=threads"), 0) << read_file("log.txt");
  EXPECT_NE(read_file("log.txt").find("mixture: cats 66.67% (asked 66.67%), dogs 33.33%"),
            std::string::npos)
      << read_file("log.txt");
  ASSERT_EQ(program("train run.toml --set train.name=processes --set data.workers=processes"), 0)
      << read_file("log.txt");
  EXPECT_EQ(losses("threads").size(), 6u);
  EXPECT_EQ(losses("threads"), losses("processes"));
  // How sequences are delivered does not make it another run.
  ASSERT_EQ(program("train run.toml --set train.name=threads --set data.workers=processes "
                    "--set data.prefetch_bytes=1MiB --set train.steps=8"),
            0)
      << read_file("log.txt");
  EXPECT_EQ(losses("threads").size(), 8u);
}

// Sources that are tokenized on the fly, by several workers each.
TEST_F(DeliveryTest, ProcessesGiveWhatThreadsGiveOfRawSources) {
  ASSERT_EQ(program("data build cats.txt dogs.txt --out built --vocabulary 270"), 0)
      << read_file("log.txt");
  std::string raw = kRun;
  for (const char* animal : {"cats", "dogs"}) {
    const std::string path = fmt::format("path = \"{}.txt\"\n", animal);
    raw.insert(raw.find(path), "tokenize = \"on_the_fly\"\n");
  }
  const std::string vocabulary = "vocabulary = 270";
  raw.replace(raw.find(vocabulary), vocabulary.size(), "tokenizer = \"built/tokenizer.json\"");
  write("raw.toml", raw);
  ASSERT_EQ(program("train raw.toml --set train.name=threads --set data.cache=one"), 0)
      << read_file("log.txt");
  ASSERT_EQ(program("train raw.toml --set train.name=processes --set data.cache=two "
                    "--set data.workers=processes --set data.worker_count=3"),
            0)
      << read_file("log.txt");
  EXPECT_EQ(losses("threads").size(), 6u);
  EXPECT_EQ(losses("threads"), losses("processes"));
  ASSERT_EQ(program("train raw.toml --set train.name=threads --set data.cache=one "
                    "--set data.workers=processes --set train.steps=8"),
            0)
      << read_file("log.txt");
  EXPECT_EQ(losses("threads").size(), 8u);
  const Outcome outcome = run({"data", "stats", "runs/threads", "--json"});
  EXPECT_EQ(outcome.code, kDone) << outcome.err;
  EXPECT_GT(nlohmann::json::parse(outcome.out)["sources"][0]["blocks_read"], 0);
}

TEST_F(DeliveryTest, TellsWhatARankReads) {
  ASSERT_EQ(program("train run.toml"), 0) << read_file("log.txt");
  const auto sequences = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"data", "which", "runs/run", "--step", "2", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kDone) << outcome.err;
    std::vector<std::int64_t> found;
    for (const auto& part : nlohmann::json::parse(outcome.out)) {
      const auto sequence = part["sequence"].get<std::int64_t>();
      if (found.empty() || found.back() != sequence) found.push_back(sequence);
    }
    return found;
  };
  EXPECT_EQ(sequences({"--rank", "0"}), (std::vector<std::int64_t>{0, 1, 2, 3}));
  auto both = sequences({"--rank", "0", "--ranks", "2"});
  const auto second = sequences({"--rank", "1", "--ranks", "2"});
  both.insert(both.end(), second.begin(), second.end());
  std::sort(both.begin(), both.end());
  EXPECT_EQ(both, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(run({"data", "which", "runs/run", "--step", "2", "--ranks", "2"}).code, kUserError);
  EXPECT_EQ(run({"data", "which", "runs/run", "--step", "2", "--rank", "2", "--ranks", "2"}).code,
            kUserError);
}

}  // namespace
}  // namespace bessemer::cli

// Runs of the built program whose sequences come from threads and from processes.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/calibrated_command.h"

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

class DeliveryTest : public CalibratedCommandTest {
 protected:
  void SetUp() override {
    CalibratedCommandTest::SetUp();
    for (const char* animal : {"cat", "dog"}) {
      std::string text;
      for (int i = 0; i < 100; ++i) {
        text += fmt::format("the {} sat {} times\n<|endoftext|>", animal, i);
      }
      write(fmt::format("{}s.txt", animal), text);
    }
    write("run.toml", kRun);
  }

  /// Exit status of the built program.
  static int program(const std::string& arguments) {
    const std::string command = BESSEMER_BINARY_DIR "/bessemer " + arguments + " 2>log.txt";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  /// The built program, which runs beside the test.
  static pid_t start(const std::string& arguments) {
    const std::string command = "exec " BESSEMER_BINARY_DIR "/bessemer " + arguments + " 2>log.txt";
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    return child;
  }

  /// So far.
  static std::ptrdiff_t steps(const std::string& run) {
    std::ifstream metrics("runs/" + run + "/metrics.jsonl");
    return std::count(std::istreambuf_iterator<char>(metrics), {}, '\n');
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

// ---- a source that stands still

/// The process that reads a source for a trainer; 0 where there is none yet.
pid_t worker_of(pid_t trainer, int source) {
  namespace fs = std::filesystem;
  const std::string wanted = fmt::format("serve {} ", source);
  std::error_code code;
  const fs::path tasks = fmt::format("/proc/{}/task", trainer);
  for (fs::directory_iterator it(tasks, code), end; !code && it != end; it.increment(code)) {
    std::ifstream children(it->path() / "children");
    for (pid_t child = 0; children >> child;) {
      std::ifstream file(fmt::format("/proc/{}/cmdline", child));
      std::string line{std::istreambuf_iterator<char>(file), {}};
      std::replace(line.begin(), line.end(), '\0', ' ');
      if (line.find(wanted) != std::string::npos) return child;
    }
  }
  return 0;
}

/// What the threads of a process have done so far; empty where one of them could go on.
std::string ticks_of_sleeping(pid_t process) {
  std::string ticks;
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    std::getline(file, line);
    std::istringstream fields(line.substr(line.rfind(')') + 1));
    std::string state, field;
    fields >> state;
    if (state != "S") return "";
    for (int i = 4; i <= 15 && fields >> field; ++i) {
      if (i >= 14) ticks += field + " ";  // user and system time
    }
  }
  return ticks;
}

/// Returns when all threads of a process have waited for a while, so that none goes on by itself.
void await_standstill(pid_t process) {
  std::string before;
  for (int same = 0; same < 10;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const std::string now = ticks_of_sleeping(process);
    same = !now.empty() && now == before ? same + 1 : 0;
    before = now;
  }
}

// It is stopped until the run has nothing left to do: then the report names it, and what is trained
// on is the same.
TEST_F(DeliveryTest, NamesTheSourceThatStandsStill) {
  const std::string settings = "--set train.steps=200 --set checkpoint.every=0 ";
  ASSERT_EQ(program("train run.toml --set train.name=threads " + settings), 0)
      << read_file("log.txt");
  const pid_t trainer = start(
      "train run.toml --set train.name=processes --set data.workers=processes "
      "--set data.worker_count=1 --set data.prefetch_bytes=1 " +
      settings);
  const auto wait_until = [&](const auto& there) {
    while (!there() && ::waitpid(trainer, nullptr, WNOHANG) == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  pid_t dogs = 0;
  wait_until([&] { return (dogs = worker_of(trainer, 1)) > 0; });
  wait_until([&] { return steps("processes") >= 3; });  // the first always waits
  ASSERT_GT(dogs, 0) << read_file("log.txt");
  ASSERT_EQ(::kill(dogs, SIGSTOP), 0) << "the run was over too soon: " << read_file("log.txt");
  await_standstill(trainer);
  EXPECT_LT(steps("processes"), 200);
  ::kill(dogs, SIGCONT);
  int status = 0;
  ASSERT_EQ(::waitpid(trainer, &status, 0), trainer);
  const std::string log = read_file("log.txt");
  EXPECT_EQ(status, 0) << log;
  const std::size_t report = log.find("data was late: ");
  ASSERT_NE(report, std::string::npos) << log;
  EXPECT_NE(log.find("dogs: ", report), std::string::npos) << log;
  EXPECT_EQ(losses("threads"), losses("processes"));
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

// Predicted memory is the memory: whole training runs, each in a process of its own, whose peak
// resident size the system tells when they end.
#include <cstdio>
#include <cstdlib>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/arena.h"
#include "base/rng.h"
#include "cli/command.h"
#include "cost/machine.h"
#include "train/compile.h"

namespace bessemer::cli {
namespace {

constexpr const char* kRun = R"([model]
architecture = "gpt2"
layers = 2
hidden = 256
heads = 4
[data]
path = "my.txt"
cache = "data"
sequence_length = 128
vocabulary = 1024
validation_fraction = 0.1
[train]
name = "run"
steps = 2
micro_batch_size = 2
global_batch_size = 2
evaluate_every = 0
[precision]
recipe = "fp32"
[log]
level = "warn"
)";

struct Case {
  const char* what;
  std::vector<const char*> settings;
};

const Case kCases[] = {
    {"gpt2 in fp32", {}},
    {"gpt2 in bf16", {"precision.recipe=bf16"}},
    {"dropout", {"model.dropout=0.1", "precision.recipe=bf16"}},
    {"four micro-batches", {"train.global_batch_size=8"}},
    {"a micro-batch of eight", {"train.micro_batch_size=8", "train.global_batch_size=8"}},
    {"long sequences", {"data.sequence_length=512", "model.context=512"}},
    {"deep", {"model.layers=8", "model.hidden=192"}},
    {"wide", {"model.layers=1", "model.hidden=768"}},
    {"without checkpoints", {"checkpoint.every=0", "model.hidden=512"}},
    {"samples and evaluation", {"train.sample_every=1", "train.evaluate_every=1"}},
    {"llama in fp32", {"model.architecture=llama", "model.kv_heads=2"}},
    {"llama in bf16, all of it",
     {"model.architecture=llama", "model.kv_heads=2", "precision.recipe=bf16", "model.hidden=384",
      "train.global_batch_size=4", "train.sample_every=2", "train.evaluate_every=2",
      "checkpoint.every=1"}},
};

// Runs the built program; returns its peak resident size in bytes, 0 where it failed.
std::size_t peak_of_process(const std::vector<std::string>& arguments) {
  const std::string program = BESSEMER_BINARY_DIR "/bessemer";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  int status = 0;
  struct rusage usage {};
  if (child < 0 || ::wait4(child, &status, 0, &usage) != child) return 0;
  const bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return done ? static_cast<std::size_t>(usage.ru_maxrss) * 1024 : 0;
}

class MemoryTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (directory() / "cache").c_str(), 1);
    cost::save(cost::describe_here(), train::calibration_path());  // nothing is measured
    const CounterRng random(0, 0, 0);
    std::string text;
    for (std::uint64_t i = 0; i < 200'000; ++i) {
      text += i % 6 == 5 ? ' ' : static_cast<char>('a' + random.word(i) % 26);
      if (i % 2000 == 1999) text += "\n<|endoftext|>";
    }
    write("my.txt", text);
    write("run.toml", kRun);
  }
  void TearDown() override {
    ::unsetenv("XDG_CACHE_HOME");
    CommandTest::TearDown();
  }
};

TEST_F(MemoryTest, MeasuredPeaksAreThePredictedOnes) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's shadow memory is resident too";
#endif
  // Once and for all, so that the runs themselves hold nothing but training.
  ASSERT_GT(peak_of_process({"data", "build", "run.toml"}), 0u);
  int number = 0;
  for (const Case& c : kCases) {
    const std::string name = "run" + std::to_string(number++);
    std::vector<std::string> arguments{"train", "run.toml", "--set", "train.name=" + name};
    for (const char* setting : c.settings) arguments.insert(arguments.end(), {"--set", setting});
    testing::internal::CaptureStdout();  // samples
    testing::internal::CaptureStderr();
    const std::size_t process = peak_of_process(arguments);
    testing::internal::GetCapturedStdout();
    const std::string messages = testing::internal::GetCapturedStderr();
    ASSERT_GT(process, 0u) << c.what << ": " << messages;
    std::ifstream metrics("runs/" + name + "/metrics.jsonl");
    std::string line, last;
    while (std::getline(metrics, line)) last = line;
    const nlohmann::json step = nlohmann::json::parse(last);
    const auto predicted = step["peak_bytes_predicted"].get<std::size_t>();
    const auto measured = step["peak_bytes_measured"].get<std::size_t>();
    const std::size_t allowed = std::max(predicted / 100, std::size_t{12} << 20);
    constexpr double kMiB = 1 << 20;
    std::printf("%-26s predicted %7.1f MiB, measured %7.1f, whole process %7.1f\n", c.what,
                static_cast<double>(predicted) / kMiB, static_cast<double>(measured) / kMiB,
                static_cast<double>(process) / kMiB);
    for (const std::size_t peak : {measured, process}) {
      EXPECT_LE(peak, predicted + allowed) << c.what;
      EXPECT_GE(peak + allowed, predicted) << c.what;
    }
  }
}

}  // namespace
}  // namespace bessemer::cli

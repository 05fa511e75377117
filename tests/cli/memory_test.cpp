// Predicted memory is the memory: whole training runs, each in a process of its own, whose peak
// resident size the system tells when they end.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/arena.h"
#include "base/rng.h"
#include "cli/calibrated_command.h"
#include "cost/machine.h"
#include "train/machine.h"
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
    {"state on the host",
     {"model.hidden=512", "memory.offload=[\"optimizer\", \"gradients\", \"parameters\"]"}},
    {"state in a file",
     {"model.hidden=512", "memory.file=\".:1GiB\"",
      "memory.offload=[\"optimizer:file\", \"gradients:file\"]"}},
    {"all of it in a file",
     {"model.hidden=512", "precision.recipe=bf16", "memory.file=\".:1GiB\"",
      "memory.offload=[\"optimizer:file\", \"gradients:file\", \"parameters:file\", "
      "\"activations:file\"]"}},
    {"state in a file, large tensors, no checkpoints",
     {"model.layers=1", "model.hidden=1024", "checkpoint.every=0", "memory.file=\".:1GiB\"",
      "memory.offload=[\"optimizer:file\", \"parameters:file\"]"}},
};

// What the program's children have for themselves now, as the system tells it page by page.
std::size_t private_bytes_of_children(pid_t process) {
  namespace fs = std::filesystem;
  std::size_t bytes = 0;
  std::error_code code;
  const fs::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (fs::directory_iterator it(tasks, code), end; !code && it != end; it.increment(code)) {
    std::ifstream children(it->path() / "children");
    for (pid_t child = 0; children >> child;) {
      std::ifstream command("/proc/" + std::to_string(child) + "/cmdline");
      std::string words;
      std::getline(command, words);
      if (words.find("serve") == std::string::npos) continue;  // it is still a copy of its parent
      std::ifstream maps("/proc/" + std::to_string(child) + "/smaps_rollup");
      for (std::string line; std::getline(maps, line);) {
        const bool counts = line.starts_with("Private_Dirty:");
        if (counts) bytes += 1024 * std::stoull(line.substr(line.find(':') + 1));
      }
    }
  }
  return bytes;
}

// Peaks in bytes: of the program, resident, and of what its children have for themselves.
struct Peaks {
  std::size_t process = 0;  // 0 where it failed
  std::size_t children = 0;
};

// Runs the built program.
Peaks peaks_of(const std::vector<std::string>& arguments) {
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
  Peaks peaks;
  while (child > 0 && ::wait4(child, &status, WNOHANG, &usage) == 0) {
    peaks.children = std::max(peaks.children, private_bytes_of_children(child));
    ::usleep(5000);
  }
  const bool done = child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (done) peaks.process = static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  return peaks;
}

class MemoryTest : public CalibratedCommandTest {
 protected:
  void SetUp() override {
    CalibratedCommandTest::SetUp();
    cost::MachineDescription machine = cost::describe_here();  // nor is a directory
    machine.directories["."] = {1e9, 1e9};
    cost::save(machine, train::calibration_path());
    write("my.txt", text(200'000));
    write("run.toml", kRun);
  }

  static std::string text(std::uint64_t bytes) {
    const CounterRng random(0, 0, 0);
    std::string text;
    for (std::uint64_t i = 0; i < bytes; ++i) {
      text += i % 6 == 5 ? ' ' : static_cast<char>('a' + random.word(i) % 26);
      if (i % 2000 == 1999) text += "\n<|endoftext|>";
    }
    return text;
  }

  struct Training {
    Peaks peaks;
    std::size_t predicted = 0, measured = 0;  // as it says itself
  };

  Training train(const std::string& run_file, const Case& c) {
    const std::string name = fmt::format("run{}", number_++);
    std::vector<std::string> arguments{"train", run_file, "--set", "train.name=" + name};
    for (const char* setting : c.settings) arguments.insert(arguments.end(), {"--set", setting});
    testing::internal::CaptureStdout();  // samples
    testing::internal::CaptureStderr();
    Training run{peaks_of(arguments)};
    testing::internal::GetCapturedStdout();
    const std::string messages = testing::internal::GetCapturedStderr();
    EXPECT_GT(run.peaks.process, 0u) << messages;
    if (run.peaks.process == 0) return run;
    std::ifstream metrics("runs/" + name + "/metrics.jsonl");
    std::string line, last;
    while (std::getline(metrics, line)) last = line;
    const nlohmann::json step = nlohmann::json::parse(last);
    run.predicted = step["peak_bytes_predicted"].get<std::size_t>();
    run.measured = step["peak_bytes_measured"].get<std::size_t>();
    const auto mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    std::printf("%-26s predicted %7.1f MiB, measured %7.1f, whole process %7.1f, children %7.1f\n",
                c.what, mib(run.predicted), mib(run.measured), mib(run.peaks.process),
                mib(run.peaks.children));
    return run;
  }

 private:
  int number_ = 0;
};

TEST_F(MemoryTest, MeasuredPeaksAreThePredictedOnes) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's shadow memory is resident too";
#endif
  // Once and for all, so that the runs themselves hold nothing but training.
  ASSERT_GT(peaks_of({"data", "build", "run.toml"}).process, 0u);
  for (const Case& c : kCases) {
    const Training run = train("run.toml", c);
    ASSERT_GT(run.peaks.process, 0u) << c.what;
    const std::size_t allowed = std::max(run.predicted / 100, std::size_t{12} << 20);
    for (const std::size_t peak : {run.measured, run.peaks.process}) {
      EXPECT_LE(peak, run.predicted + allowed) << c.what;
      EXPECT_GE(peak + allowed, run.predicted) << c.what;
    }
  }
}

// What reads the data counts too: caches of text, processes.
TEST_F(MemoryTest, OfWhatReadsTheData) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's shadow memory is resident too";
#endif
  const Case cases[] = {
      {"processes", {"data.workers=processes"}},
      {"one process a source", {"data.workers=processes", "data.worker_count=1"}},
      {"threads", {}},
  };
  ASSERT_GT(peaks_of({"data", "build", "my.txt", "--out", "built", "--vocabulary", "1024"}).process,
            0u);
  for (const char* tokenize : {"ahead", "on_the_fly"}) {
    std::string file = kRun;
    file.replace(file.find("path = \"my.txt\"\n"), 16, "");
    for (const char* name : {"one", "other"}) {
      file += fmt::format("[[data.source]]\nname = \"{}\"\npath = \"{}.txt\"\ntokenize = \"{}\"\n",
                          name, name, tokenize);
      write(fmt::format("{}.txt", name), text(2'200'000));
    }
    file.replace(file.find("vocabulary = 1024"), 17, "tokenizer = \"built/tokenizer.json\"");
    write("sources.toml", file);
    ASSERT_GT(peaks_of({"data", "build", "sources.toml"}).process, 0u);
    for (const Case& c : cases) {
      SCOPED_TRACE(fmt::format("{}, {}", c.what, tokenize));
      const Training run = train("sources.toml", c);
      ASSERT_GT(run.peaks.process, 0u);
      constexpr std::size_t kAllowed = std::size_t{24} << 20;
      for (const std::size_t peak : {run.measured, run.peaks.process + run.peaks.children}) {
        EXPECT_LE(peak, run.predicted + kAllowed);
        EXPECT_GE(peak + kAllowed, run.predicted);
      }
      EXPECT_EQ(run.peaks.children > 0, c.settings.size() > 0);
    }
  }
}

}  // namespace
}  // namespace bessemer::cli

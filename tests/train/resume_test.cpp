// A run that is stopped and goes on equals the one that was never stopped, bit for bit.
#include <csignal>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_lock.h"
#include "models/architecture.h"
#include "train/machine.h"
#include "train/memory_planner.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

// Without times, and without the memory of a process that has, or has not, read a checkpoint.
nlohmann::json without_times(nlohmann::json metrics) {
  for (const char* key : {"step_seconds", "tokens_per_second", "mfu", "data_wait_seconds",
                          "peak_bytes_predicted", "peak_bytes_measured"}) {
    EXPECT_EQ(metrics.erase(key), 1u) << key;
  }
  return metrics;
}

void expect_same_metrics(const fs::path& a, const fs::path& b, std::size_t from_step) {
  const auto all_a = metrics_of(a), all_b = metrics_of(b);
  for (const auto& of_b : all_b) {
    const auto step = of_b.at("step").get<std::size_t>();
    if (step < from_step) continue;
    ASSERT_LE(step, all_a.size());
    EXPECT_EQ(without_times(of_b).dump(), without_times(all_a[step - 1]).dump());
  }
}

void expect_same_checkpoint(const fs::path& a, const fs::path& b, std::int64_t step) {
  const checkpoint::Checkpoint of_a(checkpoint::checkpoint_path(a, step));
  const checkpoint::Checkpoint of_b(checkpoint::checkpoint_path(b, step));
  EXPECT_EQ(of_a.state(), of_b.state());
  ASSERT_EQ(of_a.names(), of_b.names());
  EXPECT_GT(of_a.names().size(), 60u);  // 21 parameters, their m and v, the step count
  for (const std::string& name : of_a.names()) {
    const auto x = checkpoint::get(of_a, name), y = checkpoint::get(of_b, name);
    ASSERT_EQ(x.type, y.type);
    EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0) << name;
  }
}

class ResumeTest : public ::testing::Test {
 protected:
  RunPlace place_;
};

TEST_F(ResumeTest, FromAPathEqualsTheUninterruptedRun) {
  ASSERT_EQ(train::train(place_.config("whole", 6), {}), RunEnd::done);
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("whole"), 3)};
  ASSERT_EQ(train::train(place_.config("second_half", 6), from), RunEnd::done);
  ASSERT_EQ(metrics_of(place_.run("whole")).size(), 6u);
  const auto half = metrics_of(place_.run("second_half"));
  ASSERT_EQ(half.size(), 3u);
  EXPECT_EQ(half.front().at("step"), 4);
  expect_same_metrics(place_.run("whole"), place_.run("second_half"), 4);
  expect_same_checkpoint(place_.run("whole"), place_.run("second_half"), 6);
  // Dropout and the order of the data did something: steps differ from each other.
  EXPECT_NE(half[0].at("loss"), half[1].at("loss"));
}

// As after a crash at step 5: the last checkpoint is of step 3, the metrics go further.
TEST_F(ResumeTest, AutomaticallyAfterACrashEqualsTheUninterruptedRun) {
  ASSERT_EQ(train::train(place_.config("whole", 6), {}), RunEnd::done);
  fs::copy(place_.run("whole"), place_.run("crashed"), fs::copy_options::recursive);
  fs::remove_all(checkpoint::checkpoint_path(place_.run("crashed"), 6));
  ASSERT_EQ(train::train(place_.config("crashed", 6), {}), RunEnd::done);
  ASSERT_EQ(metrics_of(place_.run("crashed")).size(), 6u);
  expect_same_metrics(place_.run("whole"), place_.run("crashed"), 1);
  expect_same_checkpoint(place_.run("whole"), place_.run("crashed"), 6);
}

TEST_F(ResumeTest, AFinishedRunStaysAsItIs) {
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  const std::string before = read_file(place_.run("run") / "metrics.jsonl");
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  EXPECT_EQ(read_file(place_.run("run") / "metrics.jsonl"), before);
}

TEST_F(ResumeTest, SavesAndStopsAtASignalAndGoesOn) {
  constexpr int kForever = 1'000'000;
  const std::vector<std::string> steady{"optimizer.schedule=constant", "optimizer.warmup_steps=2",
                                        "checkpoint.every=1000"};
  std::thread sender([&] {
    const fs::path metrics = place_.run("stopped") / "metrics.jsonl";
    while (!fs::exists(metrics) || fs::file_size(metrics) < 600) std::this_thread::yield();
    ::kill(::getpid(), SIGTERM);
  });
  const RunEnd end = train::train(place_.config("stopped", kForever, steady), {});
  sender.join();
  ASSERT_EQ(end, RunEnd::stopped_by_signal);
  const auto step = static_cast<int>(metrics_of(place_.run("stopped")).size());
  ASSERT_GT(step, 0);
  EXPECT_EQ(checkpoint::find_latest(place_.run("stopped")),
            checkpoint::checkpoint_path(place_.run("stopped"), step));
  ASSERT_EQ(train::train(place_.config("stopped", step + 2, steady), {}), RunEnd::done);
  ASSERT_EQ(train::train(place_.config("whole", step + 2, steady), {}), RunEnd::done);
  expect_same_metrics(place_.run("whole"), place_.run("stopped"), 1);
  expect_same_checkpoint(place_.run("whole"), place_.run("stopped"), step + 2);
}

std::string contents_of(const fs::path& directory) {
  std::string all;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    all += entry.path().string() + "\n";
    if (entry.path().filename() != "run.lock") all += read_file(entry.path());
  }
  return all;
}

TEST_F(ResumeTest, RefusesAnotherModelAndLeavesTheRunAsItIs) {
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  const std::string before = contents_of(place_.run("run"));
  for (const char* change :
       {"model.hidden=32", "optimizer.learning_rate=1e-3", "run.seed=7", "data.sequence_length=8",
        "precision.recipe=fp32", "train.micro_batch_size=1"}) {
    const std::string message =
        message_of<InputError>([&] { train::train(place_.config("run", 6, {change}), {}); });
    EXPECT_NE(message.find("step_000003: this checkpoint was made with other settings"),
              std::string::npos)
        << change << ": " << message;
    EXPECT_EQ(contents_of(place_.run("run")), before) << change;
  }
}

// Where the run file leaves micro-batches open, a run keeps those it began with, whatever another
// budget would have made of a new one.
TEST_F(ResumeTest, KeepsMicroBatchesThatTheRunFileLeavesOpen) {
  const auto open = [&](const std::string& name, int steps, std::vector<std::string> more = {}) {
    config::RunConfig config = place_.config(name, steps, std::move(more));
    config.train.micro_batch_size.reset();
    return config;
  };
  const auto planner = [](const config::RunConfig& config) {
    return train::MemoryPlanner(config, models::resolve(config.model, 280, 16),
                                train::measured_machine());
  };
  const auto chosen = [&](const config::RunConfig& config) {
    return *planner(config).choose().train.micro_batch_size;
  };
  const std::size_t least = planner(open("run", 3)).frontier().back().device_bytes;
  const std::string tight = fmt::format("memory.device={}", least);
  const std::int64_t began_with = chosen(open("run", 3, {tight}));
  ASSERT_NE(chosen(open("run", 3)), began_with);

  ASSERT_EQ(train::train(open("whole", 6, {tight}), {}), RunEnd::done);
  fs::copy(place_.run("whole"), place_.run("run"), fs::copy_options::recursive);
  fs::remove_all(checkpoint::checkpoint_path(place_.run("run"), 6));
  const std::string message =
      message_of<InputError>([&] { train::train(open("run", 6, {"memory.device=1000"}), {}); });
  const std::string kept = fmt::format("train.micro_batch_size = {}", began_with);
  EXPECT_NE(message.find("keeps its micro-batches (" + kept), std::string::npos) << message;
  ASSERT_EQ(train::train(open("run", 6), {}), RunEnd::done);
  EXPECT_NE(read_file(place_.run("run") / "run.toml")
                .find(fmt::format("micro_batch_size = {}\n", began_with)),
            std::string::npos);
  expect_same_metrics(place_.run("whole"), place_.run("run"), 4);
  expect_same_checkpoint(place_.run("whole"), place_.run("run"), 6);
}

// Another calibration between two starts must not deal a step to ranks in another way.
TEST_F(ResumeTest, KeepsWhatATokenWasTakenToCost) {
  const auto measure = [](double attention) {
    cost::MachineDescription machine = cost::describe_here();
    machine.attention_flops_bf16 = attention;
    cost::save(machine, train::calibration_path());
  };
  const auto kept = [&](const std::string& name) {
    return config::load_run_config(place_.run(name) / "run.toml").data.token_pairs.value();
  };
  measure(20e9);
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  const std::int64_t slow = kept("run");
  measure(40e9);
  ASSERT_EQ(train::train(place_.config("run", 6), {}), RunEnd::done);
  EXPECT_EQ(kept("run"), slow);
  ASSERT_EQ(train::train(place_.config("new", 3), {}), RunEnd::done);
  EXPECT_NEAR(static_cast<double>(kept("new")), 2 * static_cast<double>(slow), 1);
}

TEST_F(ResumeTest, RefusesADamagedCheckpoint) {
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  const fs::path tensors =
      checkpoint::checkpoint_path(place_.run("run"), 3) / "tensors.safetensors";
  std::string bytes = read_file(tensors);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  std::ofstream(tensors, std::ios::binary) << bytes;
  const std::string message =
      message_of<InputError>([&] { train::train(place_.config("run", 6), {}); });
  EXPECT_NE(message.find("tensors.safetensors"), std::string::npos) << message;
}

TEST_F(ResumeTest, NeverRefusesADirectoryWithCheckpoints) {
  ASSERT_EQ(train::train(place_.config("run", 3), {}), RunEnd::done);
  const std::string message = message_of<InputError>([&] {
    train::train(place_.config("run", 3), {Resume::Kind::never, {}});
  });
  EXPECT_NE(message.find("holds a run with checkpoints (step_000003)"), std::string::npos)
      << message;
  ASSERT_EQ(train::train(place_.config("other", 3), {Resume::Kind::never, {}}), RunEnd::done);
}

TEST_F(ResumeTest, APathMayNotHideLaterCheckpoints) {
  ASSERT_EQ(train::train(place_.config("run", 6), {}), RunEnd::done);
  const auto resume_from = [&](std::int64_t step) {
    // As a shell completes it: with a slash at the end.
    return Resume{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("run"), step) / ""};
  };
  const std::string message =
      message_of<InputError>([&] { train::train(place_.config("run", 7), resume_from(3)); });
  EXPECT_NE(message.find("is behind"), std::string::npos) << message;
  EXPECT_EQ(metrics_of(place_.run("run")).size(), 6u);
  ASSERT_EQ(train::train(place_.config("run", 7), resume_from(6)), RunEnd::done);
  EXPECT_EQ(metrics_of(place_.run("run")).size(), 7u);
}

TEST_F(ResumeTest, OneDirectoryTakesOneRun) {
  fs::create_directories(place_.run("run"));
  const checkpoint::RunLock lock(place_.run("run"));
  const std::string message =
      message_of<InputError>([&] { train::train(place_.config("run", 3), {}); });
  EXPECT_NE(message.find("another run works in this directory"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(place_.run("run") / "metrics.jsonl"));
}

TEST_F(ResumeTest, ABrokenRunCreatesNothing) {
  struct Case {
    const char* message;
    void (*spoil)(config::RunConfig& config);
  };
  const Case cases[] = {
      {"nowhere.txt: no such file",
       [](config::RunConfig& c) { c.data.sources[0].path = "nowhere.txt"; }},
      {"nowhere.json", [](config::RunConfig& c) { c.data.tokenizer = "nowhere.json"; }},
      {"nowhere/config.json", [](config::RunConfig& c) { c.model = {.from = "nowhere"}; }},
      {"model.layers is missing", [](config::RunConfig& c) { c.model.layers.reset(); }},
      {"model.heads 3 is not a multiple", [](config::RunConfig& c) {
         c.model.heads = 3;
         c.model.kv_heads = 2;
       }}};
  for (const Case& c : cases) {
    config::RunConfig config = place_.config("broken", 3);
    c.spoil(config);
    const std::string message = message_of<InputError>([&] { train::train(config, {}); });
    EXPECT_NE(message.find(c.message), std::string::npos) << c.message << ": " << message;
    EXPECT_FALSE(fs::exists(place_.path() / "runs")) << c.message;
    EXPECT_FALSE(fs::exists(place_.path() / "data")) << c.message;
  }
  const Resume from{Resume::Kind::path, place_.path()};
  EXPECT_NE(message_of<InputError>([&] { train::train(place_.config("broken", 3), from); }), "");
  EXPECT_FALSE(fs::exists(place_.path() / "runs"));
}

TEST(ParseResume, TakesThreeForms) {
  EXPECT_EQ(train::parse_resume("auto").kind, Resume::Kind::automatic);
  EXPECT_EQ(train::parse_resume("never").kind, Resume::Kind::never);
  EXPECT_EQ(train::parse_resume("/").kind, Resume::Kind::path);
  EXPECT_EQ(message_of<InputError>([] { train::parse_resume("/no/such"); }),
            "--resume /no/such: expected auto, never or a checkpoint's directory");
}

}  // namespace
}  // namespace bessemer::testing

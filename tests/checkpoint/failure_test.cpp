// What is on the disk when a write fails or the process dies in the middle of one.
#include <csignal>
#include <cerrno>
#include <cstring>
#include <functional>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/background_writer.h"
#include "checkpoint/checkpoint.h"
#include "support/failing_writes.h"
#include "tensors.h"

namespace bessemer::checkpoint {
namespace {

using testing::expect_input_error;
using testing::listing;
using testing::Tensors;
using testing::write_bytes;

using Json = nlohmann::json;
using Names = std::vector<std::string>;
namespace fs = std::filesystem;

constexpr std::int64_t kSmall = 1 << 10;
constexpr std::int64_t kLarge = 4 << 20;
constexpr rlim_t kLimit = 2 << 20;  // between the two, in bytes

Tensors of_size(std::int64_t bytes, std::uint64_t seed = 1) {
  Tensors tensors;
  tensors.add("a", {DType::uint8, {bytes / 2}}, seed);
  tensors.add("b", {DType::uint8, {bytes / 2}}, seed + 1);
  return tensors;
}

/// Runs `body` in a child process and gives its wait status.
int run_in_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      body();
    } catch (...) {
      ::_exit(3);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(CheckpointFailure, AWriteThatFailsLeavesOnlyWhatWas) {
  const TemporaryDirectory run;
  const Tensors before = of_size(kSmall);
  const auto kept = write_checkpoint(run.path(), 1, before.named(), Json::object());
  {
    const bessemer::testing::FileSizeLimit limit(kLimit);
    for (const int step : {1, 2}) {  // replacing step 1, and a new one
      expect_input_error(
          [&] { write_checkpoint(run.path(), step, of_size(kLarge).named(), Json::object()); },
          {run.path().string(), "tensors.safetensors", "cannot write", "File too large"});
    }
  }
  EXPECT_EQ(listing(run.path() / "checkpoints"), Names{"step_000001"});
  before.expect_in(Checkpoint(kept));
}

void save(BackgroundWriter& writer, std::int64_t step, const std::vector<NamedTensor>& tensors,
          Json state) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back({tensor.name, tensor.view.type});
  const auto copy_to = [&](std::size_t i, std::span<std::byte> to) {
    std::copy(tensors[i].view.bytes.begin(), tensors[i].view.bytes.end(), to.begin());
  };
  writer.save(step, specs, copy_to, std::move(state));
}

TEST(CheckpointFailure, AFullDiskIsNamed) {
  const TemporaryDirectory directory;
  const bessemer::testing::SmallDisk disk(directory.path(), 1);
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small disk: " << std::strerror(errno);
  const Tensors before = of_size(kSmall);
  BackgroundWriter writer(disk.path(), 1);
  save(writer, 1, before.named(), Json::object());
  save(writer, 2, of_size(kLarge).named(), Json::object());
  expect_input_error([&] { writer.wait(); }, {"tensors.safetensors", "No space left on device"});
  EXPECT_EQ(listing(disk.path() / "checkpoints"), Names{"step_000001"});
  before.expect_in(Checkpoint(*find_latest(disk.path())));
  save(writer, 3, before.named(), Json::object());
  writer.wait();
  EXPECT_EQ(listing(disk.path() / "checkpoints"), Names{"step_000003"});
}

TEST(CheckpointFailure, ADirectoryThatCannotBeMadeIsNamed) {
  const TemporaryDirectory run;
  write_bytes(run.path() / "checkpoints", "a file in the way");
  expect_input_error([&] { write_checkpoint(run.path(), 1, of_size(2).named(), Json::object()); },
                     {(run.path() / "checkpoints").string(), "cannot create directory"});
}

TEST(CheckpointFailure, NoPermissionIsNamed) {
  const TemporaryDirectory run;
  fs::permissions(run.path(), fs::perms::owner_read | fs::perms::owner_exec |
                                  fs::perms::others_read | fs::perms::others_exec);
  const int status = run_in_child([&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(4);
    try {
      write_checkpoint(run.path(), 1, of_size(2).named(), Json::object());
    } catch (const InputError& error) {
      const std::string message = error.what();
      ::_exit(message.find("Permission denied") != message.npos ? 0 : 5);
    }
    ::_exit(6);
  });
  fs::permissions(run.path(), fs::perms::owner_all);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(CheckpointFailure, ACrashInTheMiddleLeavesNothingVisible) {
  const TemporaryDirectory run;
  const Tensors before = of_size(kSmall);
  const auto kept = write_checkpoint(run.path(), 1, before.named(), Json::object());
  const int status = run_in_child([&] {
    const rlimit no_core{0, 0}, limit{kLimit, kLimit};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_DFL);  // the kernel kills the process in the write beyond the limit
    write_checkpoint(run.path(), 2, of_size(kLarge).named(), Json::object());
  });
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << status;
  const auto folder = run.path() / "checkpoints";
  ASSERT_EQ(listing(folder).size(), 2u) << "the child left a hidden directory";
  EXPECT_TRUE(listing(folder)[0].starts_with(".step_000002.partial-"));
  EXPECT_EQ(find_latest(run.path()), kept);
  before.expect_in(Checkpoint(kept));
  const BackgroundWriter next_run(run.path(), 0);
  EXPECT_EQ(listing(folder), Names{"step_000001"});
}

TEST(BackgroundWriter, SavesWhatTheTensorsHeldAtTheCall) {
  const TemporaryDirectory run;
  Tensors live = of_size(kLarge);
  const Tensors copy = of_size(kLarge);  // the same seed, so the same bytes
  BackgroundWriter writer(run.path(), 0);
  writer.reserve(live.specs());
  EXPECT_GE(BackgroundWriter::snapshot_bytes(live.specs()), static_cast<std::size_t>(kLarge));
  save(writer, 1, live.named(), {{"k", 1}});
  for (std::byte& byte : live.bytes(0)) byte ^= std::byte{0xff};
  writer.wait();
  const Checkpoint found(*find_latest(run.path()));
  copy.expect_in(found);
  EXPECT_EQ(found.state().at("k"), 1);
}

TEST(BackgroundWriter, KeepsTheLastAndWaitsOnDestruction) {
  const TemporaryDirectory run;
  const Tensors tensors = of_size(kSmall);
  {
    BackgroundWriter writer(run.path(), 2);
    for (int step = 1; step <= 5; ++step) save(writer, step, tensors.named(), Json::object());
  }
  EXPECT_EQ(listing(run.path() / "checkpoints"), (Names{"step_000004", "step_000005"}));
}

TEST(BackgroundWriter, AnErrorSurfacesOnceAndKeepsTheOld) {
  const TemporaryDirectory run;
  const Tensors good = of_size(kSmall);
  BackgroundWriter writer(run.path(), 1);
  save(writer, 1, good.named(), Json::object());
  writer.wait();
  {
    const bessemer::testing::FileSizeLimit limit(kLimit);
    save(writer, 2, of_size(kLarge).named(), Json::object());
    expect_input_error([&] { save(writer, 3, good.named(), Json::object()); }, {"File too large"});
  }
  EXPECT_EQ(listing(run.path() / "checkpoints"), Names{"step_000001"});
  save(writer, 4, good.named(), Json::object());
  writer.wait();
  EXPECT_EQ(listing(run.path() / "checkpoints"), Names{"step_000004"});
}

}  // namespace
}  // namespace bessemer::checkpoint

// The file tier: bytes come back at any offset and size, by either queue; faults of the disk end a
// step with an error that names the file, and never hang it.
#include "runtime/tier_file.h"

#include <cerrno>
#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "runtime/io_uring_queue.h"
#include "support/offloaded.h"

namespace bessemer::testing {
namespace {

using runtime::FileCompletion;
using runtime::FileRequest;
using runtime::RequestQueue;
using runtime::TierFile;

std::filesystem::path directory() { return std::filesystem::temp_directory_path(); }

// A disk that fails in a chosen way from a chosen request on.
struct Fault {
  enum class Kind { none, error, short_once, no_progress } kind = Kind::none;
  FileRequest::Kind of = FileRequest::Kind::write;
  int code = 0;
  int after = 0;  // requests of that kind that still go well
};
Fault g_fault;  // the factory of a queue is a plain function

class FaultyQueue final : public RequestQueue {
 public:
  std::size_t depth() const override { return 4; }

  void submit(std::size_t slot, const FileRequest& request) override {
    FileRequest actual = request;
    if (g_fault.kind == Fault::Kind::none || request.kind != g_fault.of || g_fault.after-- > 0) {
      return forward(slot, actual);
    }
    switch (g_fault.kind) {
      case Fault::Kind::short_once:
        g_fault.kind = Fault::Kind::none;
        actual.bytes = std::max<std::size_t>(1, actual.bytes / 4096 / 2 * 4096);
        return forward(slot, actual);
      case Fault::Kind::no_progress: return done_.push_back({slot, 0});
      case Fault::Kind::error: return done_.push_back({slot, -g_fault.code});
      case Fault::Kind::none: break;
    }
  }

  // The newest first: completions come in any order.
  FileCompletion wait() override {
    const FileCompletion last = done_.back();
    done_.pop_back();
    return last;
  }

 private:
  void forward(std::size_t slot, const FileRequest& request) {
    calls_->submit(0, request);
    done_.push_back({slot, calls_->wait().result});
  }
  std::unique_ptr<RequestQueue> calls_ = runtime::make_system_call_queue();
  std::vector<FileCompletion> done_;
};

std::unique_ptr<RequestQueue> make_faulty_queue() { return std::make_unique<FaultyQueue>(); }

class Faults : public ::testing::Test {
 protected:
  void SetUp() override { g_fault = {}; }
  void TearDown() override { g_fault = {}; }
};

std::vector<std::byte> random_bytes(std::size_t count, std::uint64_t seed) {
  const CounterRng rng(seed, 0, 0);
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(rng.word(i));
  return bytes;
}

void expect_round_trips(runtime::QueueFactory factory) {
  constexpr std::size_t kSize = std::size_t{3} << 20;
  TierFile file(directory(), kSize, 2, factory);
  std::vector<std::byte> mirror(kSize);  // the file starts as zeros
  const CounterRng rng(1, 0, 0);
  const Arena memory(kSize + 8192);
  for (std::uint64_t round = 0; round < 60; ++round) {
    const auto word = [&](std::uint64_t i) { return rng.word(8 * round + i); };
    // Aligned and not, of few bytes and of more than one request.
    const std::size_t step = word(0) % 2 == 0 ? 4096 : 1;
    const std::size_t offset = word(1) % (kSize / step) * step;
    const std::size_t most =
        word(2) % 3 == 0 ? kSize - offset : std::min<std::size_t>(kSize - offset, 9000);
    const std::size_t bytes = word(3) % (most + 1);
    std::byte* place = memory.data() + (word(4) % 2 == 0 ? 0 : 64);
    if (word(5) % 2 == 0) {
      const auto values = random_bytes(bytes, round);
      std::copy(values.begin(), values.end(), place);
      std::copy(values.begin(), values.end(), mirror.begin() + static_cast<std::ptrdiff_t>(offset));
      file.write(1, offset, {place, bytes});
    } else {
      file.read(0, offset, {place, bytes});
      ASSERT_EQ(std::memcmp(place, mirror.data() + offset, bytes), 0) << "round " << round;
    }
  }
  file.read(0, 0, {memory.data(), kSize});
  EXPECT_EQ(std::memcmp(memory.data(), mirror.data(), kSize), 0);
}

TEST_F(Faults, NoneAnyOffsetAndSizeRoundTrips) {
  expect_round_trips(runtime::make_request_queue);
  expect_round_trips(runtime::make_system_call_queue);
  expect_round_trips(make_faulty_queue);
}

TEST_F(Faults, ShortTransfersGoOnWhereTheyEnded) {
  for (const FileRequest::Kind kind : {FileRequest::Kind::read, FileRequest::Kind::write}) {
    TierFile file(directory(), 1 << 20, 1, make_faulty_queue);
    const Arena memory(1 << 20), back(1 << 20);
    const auto values = random_bytes(1 << 20, 3);
    std::copy(values.begin(), values.end(), memory.data());
    g_fault = {Fault::Kind::short_once, kind, 0, 0};
    file.write(0, 0, {memory.data(), memory.size()});
    file.read(0, 0, {back.data(), back.size()});
    EXPECT_EQ(g_fault.kind, Fault::Kind::none);
    EXPECT_EQ(std::memcmp(back.data(), values.data(), values.size()), 0);
  }
}

TEST_F(Faults, AreNamed) {
  struct Case {
    Fault fault;
    const char* message;
  };
  const Case cases[] = {
      {{Fault::Kind::error, FileRequest::Kind::write, ENOSPC, 1}, "No space left on device"},
      {{Fault::Kind::error, FileRequest::Kind::write, EIO, 0}, "Input/output error"},
      {{Fault::Kind::error, FileRequest::Kind::read, EIO, 0}, "Input/output error"},
      {{Fault::Kind::no_progress, FileRequest::Kind::write, 0, 0}, "moved no byte"},
      {{Fault::Kind::no_progress, FileRequest::Kind::read, 0, 2}, "moved no byte"}};
  for (const Case& c : cases) {
    TierFile file(directory(), 4 << 20, 1, make_faulty_queue);
    const Arena memory(4 << 20);
    g_fault = c.fault;
    try {
      file.write(0, 0, {memory.data(), memory.size()});
      file.read(0, 0, {memory.data(), memory.size()});
      ADD_FAILURE() << "no error: " << c.message;
    } catch (const InputError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(c.message), std::string::npos) << text;
      EXPECT_NE(text.find(file.path().string()), std::string::npos) << text;
    }
    g_fault = {};
    file.write(0, 0, {memory.data(), memory.size()});  // the file itself is still good
  }
}

// The thread of a stream fails; the step throws that one error, whichever transfer it is, and the
// executor can be thrown away.
TEST_F(Faults, EndTheStep) {
  const cost::MachineDescription machine = cost::describe_here();
  const std::vector<ir::Graph> graphs = step_graphs(tiny_gpt2(), passes::Recipe::fp32);
  passes::OffloadOptions options;
  options.optimizer = options.gradients = options.parameters = options.activations = ir::Tier::file;
  options.smallest = 0;
  options.patience = 0;
  const std::vector<ir::Graph> moved = offloaded(graphs, options, machine);
  for (const auto kind : {FileRequest::Kind::read, FileRequest::Kind::write}) {
    for (const int after : {0, 3, 40}) {
      runtime::ExecutorOptions how;
      how.file_queue = make_faulty_queue;
      g_fault = {};
      const PlannedStep step(moved, machine, how);
      step.start(1);
      g_fault = {Fault::Kind::error, kind, EIO, after};
      try {
        step.step(0);
        ADD_FAILURE() << "no error after " << after;
      } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("Input/output error"), std::string::npos);
        EXPECT_NE(std::string(error.what()).find("bessemer-tier-"), std::string::npos);
      }
    }
  }
}

TEST(TierFile, LeavesNothingBehindAndSaysWhatItCannotMake) {
  std::filesystem::path path;
  {
    const TierFile file(directory(), 10000, 1);
    path = file.path();
    EXPECT_FALSE(std::filesystem::exists(path)) << "it has no name while it is used";
    EXPECT_EQ(file.size(), 12288u);
  }
  try {
    const TierFile file("/no/such/directory", 4096, 1);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("/no/such/directory: cannot create"),
              std::string::npos);
  }
  try {  // 8 EiB less a block: no disk has it
    const TierFile file(directory(), (std::size_t{1} << 63) - 8192, 1);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("for the file tier"), std::string::npos);
  }
}

}  // namespace
}  // namespace bessemer::testing

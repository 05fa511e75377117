// What is delivered is a function of (mixture, step) alone.
#include "data/loader.h"

#include <csignal>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include <sys/wait.h>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "data/row_process.h"
#include "support/synthetic_source.h"

namespace bessemer::data {
namespace {

using bessemer::testing::SyntheticSource;
using bessemer::testing::TroubledSource;
using Ids = std::vector<std::int32_t>;

constexpr std::int64_t kLength = 24;
constexpr std::uint32_t kSources = 3;

std::shared_ptr<const Mixture> mixture_of(
    const std::vector<std::shared_ptr<const SequenceSource>>& sources) {
  const std::vector<std::uint64_t> endless(sources.size(), MixtureSchedule::kEndless);
  std::vector<double> weights, later;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    weights.push_back(static_cast<double>(s + 1));
    later.push_back(static_cast<double>(sources.size() - s));
  }
  // The mixture changes on the way.
  return std::make_shared<const Mixture>(
      sources, MixtureSchedule({{0, weights}, {100, weights, later}, {200, later}}, endless));
}

std::shared_ptr<const Mixture> synthetic() {
  std::vector<std::shared_ptr<const SequenceSource>> sources;
  for (std::uint32_t s = 0; s < kSources; ++s) {
    sources.push_back(std::make_shared<SyntheticSource>(s, kLength));
  }
  return mixture_of(sources);
}

LoaderOptions options(int most_workers = 1, std::size_t ahead = 0) {
  LoaderOptions made;
  made.micro_batch_size = 2;
  made.micro_batches = 3;
  made.node.prefetch_bytes = ahead * row_bytes(kLength);
  made.node.workers.most = most_workers;
  made.node.workers.first_pause = std::chrono::milliseconds(0);
  made.node.workers.max_failures = 100;
  made.node.names = {{"a", "a.bin"}, {"b", "b.bin"}, {"c", "c.bin"}};
  return made;
}

struct Row {
  explicit Row(std::int64_t length) : memory(row_elements(length)) {}
  Ids memory;
};

// The batch of a single rank is the mixture's sequences, in order.
void expect_step(const Mixture& mixture, std::uint64_t first, const GlobalBatch& batch) {
  ASSERT_EQ(batch.first_sequence, first);
  Row row(kLength);
  std::int64_t valid = 0;
  std::uint64_t n = first;
  for (const Batch& micro : batch.micro_batches) {
    const std::size_t size = micro.tokens.size() / kLength;
    for (std::size_t b = 0; b < size; ++b, ++n) {
      const SequenceView view = row_at(row.memory.data(), kLength);
      valid += mixture.read(n, view);
      const auto same = [&](std::span<const std::int32_t> expected, const Ids& got) {
        return std::equal(expected.begin(), expected.end(),
                          got.begin() + static_cast<std::ptrdiff_t>(b * expected.size()));
      };
      ASSERT_TRUE(same(view.tokens, micro.tokens)) << "sequence " << n;
      ASSERT_TRUE(same(view.targets, micro.targets)) << "sequence " << n;
      ASSERT_TRUE(same(view.positions, micro.positions)) << "sequence " << n;
      ASSERT_TRUE(same(view.visibility, micro.visibility)) << "sequence " << n;
    }
  }
  EXPECT_EQ(batch.valid_tokens, valid);
}

void expect_steps(Loader& loader, int steps) {
  const auto mixture = synthetic();
  for (int step = 0; step < steps; ++step) {
    const std::uint64_t first = loader.position();
    ASSERT_NO_FATAL_FAILURE(expect_step(*mixture, first, loader.next().batch));
  }
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Readers in processes, each of which the test can find.
class Processes {
 public:
  explicit Processes(std::string description = "") : description_(std::move(description)) {}

  std::shared_ptr<RowReader> operator()(std::uint32_t source) {
    RowProgram program{BESSEMER_BINARY_DIR "/row_worker", {}, description_};
    if (description_.empty()) program.description = fmt::format("{} {}", source, kLength);
    auto reader = std::make_shared<ProcessReader>(std::move(program), kLength);
    const std::lock_guard lock(mutex_);
    readers_.push_back(reader);
    return reader;
  }

  /// Of a running process; 0 where none runs.
  pid_t any(std::uint32_t choice) {
    const std::lock_guard lock(mutex_);
    std::vector<pid_t> running;
    for (const auto& weak : readers_) {
      const auto reader = weak.lock();
      if (reader && reader->process() > 0) running.push_back(reader->process());
    }
    return running.empty() ? 0 : running[choice % running.size()];
  }

 private:
  std::string description_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<ProcessReader>> readers_;
};

LoaderOptions with_processes(Processes& processes, LoaderOptions made) {
  made.node.make_reader = [&processes](std::uint32_t source) { return processes(source); };
  return made;
}

TEST(Loader, DeliversTheMixtureInOrderWithAnyNumberOfWorkers) {
  for (const int workers : {1, 4}) {
    for (const std::size_t ahead : {0, 7, 100}) {
      Loader loader(synthetic(), options(workers, ahead));
      expect_steps(loader, 60);
    }
  }
}

TEST(Loader, DeliversTheSameFromProcesses) {
  Processes processes;
  Loader loader(synthetic(), with_processes(processes, options(2, 30)));
  expect_steps(loader, 60);
}

TEST(Loader, ResumesAtAnyStep) {
  const CounterRng random(1, 0, 77);
  for (std::uint64_t i = 0; i < 20; ++i) {
    LoaderOptions made = options();
    made.first_sequence = std::uint64_t{6} * (random.word(i) % 1'000'000);
    Loader loader(synthetic(), made);
    expect_steps(loader, 2);
    EXPECT_EQ(loader.position(), made.first_sequence + 12);
  }
}

TEST(Loader, SurvivesProcessesThatAreKilled) {
  const std::size_t before = open_descriptors();
  {
    Processes processes;
    Loader loader(synthetic(), with_processes(processes, options(2, 20)));
    const CounterRng random(2, 0, 78);
    int killed = 0;
    for (std::uint32_t i = 0; killed < 50; ++i) {
      if (const pid_t process = processes.any(random.word(2 * i)); process > 0) {
        ::kill(process, SIGKILL);
        ++killed;
      }
      ASSERT_NO_FATAL_FAILURE(expect_steps(loader, static_cast<int>(random.word(2 * i + 1) % 4)));
    }
    expect_steps(loader, 20);
    std::uint64_t failures = 0;
    for (std::uint32_t s = 0; s < kSources; ++s) failures += loader.node().status(s).failures;
    EXPECT_GT(failures, 0u);
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a process was left behind";
}

TEST(Loader, EndsAProcessThatHangs) {
  Processes processes;
  LoaderOptions made = with_processes(processes, options(1, 0));
  made.node.workers.timeout = std::chrono::milliseconds(100);
  Loader loader(synthetic(), made);
  expect_steps(loader, 2);
  ::kill(processes.any(0), SIGSTOP);
  expect_steps(loader, 6);
  std::uint64_t stalls = 0;
  for (std::uint32_t s = 0; s < kSources; ++s) stalls += loader.node().status(s).stalls;
  EXPECT_GE(stalls, 1u);
}

TEST(Loader, AProcessThatCannotOpenItsSourceEndsTheRun) {
  Processes processes("nonsense");
  LoaderOptions made = with_processes(processes, options());
  made.node.workers.max_failures = 3;
  Loader loader(synthetic(), made);
  for (int call = 0; call < 2; ++call) {
    try {
      loader.next();
      FAIL();
    } catch (const InputError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("source.bin: no such file; it failed 3 times in a row"),
                std::string::npos)
          << text;
    }
  }
}

TEST(Loader, AProgramThatIsNotThereEndsTheRun) {
  LoaderOptions made = options();
  made.node.workers.max_failures = 2;
  made.node.make_reader = [](std::uint32_t) {
    return std::make_shared<ProcessReader>(RowProgram{"/nowhere", {}, ""}, kLength);
  };
  const std::size_t before = open_descriptors();
  {
    Loader loader(synthetic(), made);
    EXPECT_THROW(loader.next(), Error);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// Sources of a test that makes trouble, and the loader's options for them.
struct Troubled {
  Troubled() {
    for (std::uint32_t s = 0; s < kSources; ++s) {
      sources.push_back(
          std::make_shared<TroubledSource>(std::make_shared<SyntheticSource>(s, kLength)));
    }
  }
  std::shared_ptr<const Mixture> mixture() const {
    return mixture_of({sources.begin(), sources.end()});
  }
  std::vector<std::shared_ptr<TroubledSource>> sources;
};

TEST(Loader, ReadsAgainWhatCouldNotBeRead) {
  Troubled troubled;
  for (std::uint64_t i = 0; i < 20; ++i) troubled.sources[i % kSources]->fail(3 * i, 1 + i % 3);
  Loader loader(troubled.mixture(), options(3, 12));
  expect_steps(loader, 40);
  std::uint64_t failures = 0;
  for (std::uint32_t s = 0; s < kSources; ++s) failures += loader.node().status(s).failures;
  EXPECT_GE(failures, 20u);
}

TEST(Loader, GivesUpWithSourceFileAndCause) {
  Troubled troubled;
  troubled.sources[1]->fail(7, 1000);
  LoaderOptions made = options(2, 100);
  made.node.workers.max_failures = 4;
  Loader loader(troubled.mixture(), made);
  std::string text;
  int steps = 0;
  while (text.empty()) {
    try {
      loader.next();
      ++steps;
    } catch (const InputError& error) {
      text = error.what();
    }
  }
  // Sequence 7 of source b, whose turns are 2 of 6, is in step 4; those before it are delivered.
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(text,
            "source b (b.bin): sequence 7: disk.bin: cannot read: Input/output error; it failed 4 "
            "times in a row");
  EXPECT_THROW(loader.next(), InputError);
}

TEST(Loader, LeavesAThreadThatHangsBehind) {
  Troubled troubled;
  for (const std::uint64_t index : {3, 9}) troubled.sources[2]->hang(index);
  {
    LoaderOptions made = options(1, 0);
    made.node.workers.timeout = std::chrono::milliseconds(30);
    Loader loader(troubled.mixture(), made);
    expect_steps(loader, 20);
    EXPECT_GE(loader.node().status(2).stalls, 2u);
    EXPECT_EQ(loader.node().status(2).workers, 1);
  }
  troubled.sources[2]->release();
}

TEST(Loader, EndsWhileItsSourcesAreBeingRead) {
  Troubled troubled;
  troubled.sources[0]->close();
  std::thread opener;
  {
    Loader loader(troubled.mixture(), options(2, 50));
    troubled.sources[0]->await_reader();
    opener = std::thread([&] { troubled.sources[0]->open(); });
  }
  opener.join();
}

// A source is late: what was read ahead hides it; then the report names it.
TEST(Loader, HidesAndThenNamesTheSourceThatIsLate) {
  Troubled troubled;
  constexpr std::size_t kAhead = 60;  // ten steps
  Loader loader(troubled.mixture(), options(1, kAhead));
  TroubledSource& late = *troubled.sources[1];
  loader.next();
  for (int i = 0; i < 40 && loader.node().depth() < kAhead; ++i) {
    late.close();
    std::thread opener([&] {
      late.await_reader();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      late.open();
    });
    while (loader.next().wait.source != 1) {
    }
    opener.join();
  }
  EXPECT_EQ(loader.node().depth(), kAhead) << "it grows until nobody waits";
  // All that fits is read ahead before the source stops altogether.
  const auto delivered = [&] {
    std::uint64_t rows = 0;
    for (std::uint32_t s = 0; s < kSources; ++s) rows += loader.node().status(s).rows;
    return rows;
  };
  while (delivered() < loader.position() + kAhead) std::this_thread::yield();
  late.close();
  for (std::size_t step = 0; step < kAhead / 6; ++step) {
    EXPECT_EQ(loader.next().wait.source, -1) << step;
  }
  std::thread opener([&] {
    late.await_reader();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    late.open();
  });
  const auto next = loader.next();
  opener.join();
  EXPECT_EQ(next.wait.source, 1);
  EXPECT_GT(next.wait.seconds, 0);
  const std::string text = wait_text(loader.node(), next.wait);
  EXPECT_EQ(text.find("source b was late: "), 0u) << text;
}

TEST(Loader, TheMixtureComesOutAsAsked) {
  const std::vector<double> weights{0.5, 0.3, 0.15, 0.05};
  std::vector<std::shared_ptr<const SequenceSource>> sources;
  for (std::uint32_t s = 0; s < weights.size(); ++s) {
    sources.push_back(std::make_shared<SyntheticSource>(s, 2));
  }
  const std::vector<std::uint64_t> endless(weights.size(), MixtureSchedule::kEndless);
  const auto mixture =
      std::make_shared<const Mixture>(sources, MixtureSchedule({{0, weights}}, endless));
  LoaderOptions made;
  made.micro_batch_size = 100;
  Loader loader(mixture, made);
  for (int step = 0; step < 100; ++step) loader.next();
  const auto taken = loader.node().taken();
  for (std::size_t s = 0; s < weights.size(); ++s) {
    EXPECT_NEAR(static_cast<double>(taken[s]) / 10'000, weights[s], 1e-3);
  }
}

TEST(Loader, TheEndOfTheDataIsToldWhenItIsReached) {
  const auto source = std::make_shared<SyntheticSource>(0, kLength);
  const auto mixture =
      std::make_shared<const Mixture>(std::vector<std::shared_ptr<const SequenceSource>>{source},
                                      MixtureSchedule({{0, {1}}}, {20}));
  Loader loader(mixture, options(1, 100));
  for (int step = 0; step < 3; ++step) loader.next();
  EXPECT_THROW(loader.next(), InputError);
  EXPECT_THROW(loader.next(), InputError);
}

// ---- several ranks on one node

struct Step {
  std::multiset<Ids> sequences;
  std::int64_t valid = 0;
};

Step step_of(std::vector<std::unique_ptr<Constructor>>& constructors) {
  Step step;
  for (auto& constructor : constructors) {
    const auto next = constructor->next();
    step.valid += next.batch.valid_tokens;
    for (const Batch& batch : next.batch.micro_batches) {
      for (auto at = batch.tokens.begin(); at != batch.tokens.end(); at += kLength) {
        step.sequences.emplace(at, at + kLength);
      }
    }
  }
  return step;
}

TEST(Node, ReadsEverySampleOnceForAllItsRanks) {
  for (const Balance method : {Balance::round_robin, Balance::karmarkar_karp}) {
    std::vector<Step> expected;
    for (const std::int64_t ranks : {1, 2, 8}) {
      Troubled troubled;
      Planner planner(troubled.mixture(), {{ranks, 16 / ranks, 1}, method, {1, 0.1}});
      NodeOptions made = options(2, 40).node;
      made.ranks.clear();
      for (std::int64_t r = 0; r < ranks; ++r) made.ranks.push_back(r);
      Node node(std::move(planner), made);
      std::vector<std::unique_ptr<Constructor>> constructors;
      for (std::int64_t r = 0; r < ranks; ++r) {
        constructors.push_back(std::make_unique<Constructor>(node, r));
      }
      for (std::size_t s = 0; s < 12; ++s) {
        const Step step = step_of(constructors);
        if (ranks == 1) expected.push_back(step);
        EXPECT_EQ(step.sequences, expected[s].sequences) << "step " << s << " on " << ranks;
        EXPECT_EQ(step.valid, expected[s].valid);
      }
      for (const auto& source : troubled.sources) {
        for (const auto& [index, reads] : source->reads()) EXPECT_EQ(reads, 1) << index;
      }
    }
  }
}

// Ranks on threads of their own, none waiting for the others but through the node.
TEST(Node, FeedsRanksThatRunBesideEachOther) {
  constexpr std::int64_t kRanks = 4;
  NodeOptions made = options(2, 0).node;
  made.ranks = {0, 1, 2, 3};
  Node node(Planner(synthetic(), {{kRanks, 2, 3}, Balance::greedy, {1, 0.1}}), made);
  std::vector<std::thread> threads;
  std::vector<std::int64_t> valid(kRanks);
  for (std::int64_t r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      Constructor constructor(node, r);
      for (int step = 0; step < 50; ++step) {
        valid[static_cast<std::size_t>(r)] += constructor.next().batch.valid_tokens;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Row row(kLength);
  std::int64_t expected = 0;
  const auto mixture = synthetic();
  for (std::uint64_t n = 0; n < 50 * 24; ++n) {
    expected += mixture->read(n, row_at(row.memory.data(), kLength));
  }
  EXPECT_EQ(std::accumulate(valid.begin(), valid.end(), std::int64_t{0}), expected);
}

}  // namespace
}  // namespace bessemer::data

// The null device itself: a test on it is worth what it sees. What is forgotten, a wait, a barrier,
// a join, must show.
#ifndef BESSEMER_CUDA

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/cuda/null/stream.h"
#include "kernels/cuda/simt.cuh"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

using namespace kernels::cuda;
using null::StreamOrder;

constexpr StreamOrder kStreamOrders[] = {StreamOrder::first_stream_first,
                                         StreamOrder::last_stream_first, StreamOrder::in_turns};

/// Three streams whose work writes its name down when it runs.
struct Streams {
  std::unique_ptr<Device> device;
  std::array<Stream, 3> at;
  std::string log;

  explicit Streams(StreamOrder order = StreamOrder::last_stream_first)
      : device(null::make_null_device(order)) {
    for (Stream& stream : at) stream = device->new_stream();
  }
  void work(int stream, char name) {
    null::queue(at[static_cast<std::size_t>(stream)], [this, name] { log += name; });
  }
  void record(Event event, int stream) {
    device->record(event, at[static_cast<std::size_t>(stream)]);
  }
  void wait(int stream, Event event) { device->wait(at[static_cast<std::size_t>(stream)], event); }
  void synchronize(int stream) { device->synchronize(at[static_cast<std::size_t>(stream)]); }
  void begin_capture(int stream) { device->begin_capture(at[static_cast<std::size_t>(stream)]); }
  Graph end_capture(int stream) {
    return device->end_capture(at[static_cast<std::size_t>(stream)]);
  }
  std::string launched(Graph graph) {
    log.clear();
    device->launch(graph, at[0]);
    synchronize(0);
    return log;
  }
};

/// `body` throws an Error whose message has `part` in it.
template <typename Body>
void expect_error(const Body& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "no Error about '" << part << "'";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(NullStream, RunsNothingBeforeSomebodyWaits) {
  Streams streams;
  streams.work(0, 'a');
  EXPECT_EQ(streams.log, "");
  streams.synchronize(0);
  EXPECT_EQ(streams.log, "a");
}

TEST(NullStream, WorkWithoutAStreamRunsAtOnce) {
  int runs = 0;
  null::queue(nullptr, [&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

TEST(NullStream, StreamsAreMixedInThreeOrders) {
  const auto mixed = [](StreamOrder order) {
    Streams streams(order);
    for (const char name : {'a', 'b'}) streams.work(0, name);
    for (const char name : {'x', 'y'}) streams.work(1, name);
    streams.synchronize(0);
    streams.synchronize(1);
    return streams.log;
  };
  EXPECT_EQ(mixed(StreamOrder::first_stream_first), "abxy");
  EXPECT_EQ(mixed(StreamOrder::last_stream_first), "xyab");
  EXPECT_EQ(mixed(StreamOrder::in_turns), "axby");
}

TEST(NullStream, EventsHoldInEveryOrder) {
  for (const StreamOrder order : kStreamOrders) {
    for (const auto& [producer, consumer] : {std::pair{0, 2}, std::pair{2, 0}}) {
      Streams streams(order);
      const Event made = streams.device->new_event();
      streams.work(producer, 'a');
      streams.record(made, producer);
      streams.wait(consumer, made);
      streams.work(consumer, 'b');
      streams.synchronize(consumer);
      EXPECT_EQ(streams.log, "ab");
    }
  }
}

TEST(NullStream, AMissingWaitIsSeen) {
  for (const auto& [producer, consumer] : {std::pair{0, 2}, std::pair{2, 0}}) {
    int seen = 0;
    for (const StreamOrder order : kStreamOrders) {
      Streams streams(order);
      streams.work(producer, 'a');
      streams.work(consumer, 'b');
      streams.synchronize(consumer);
      if (streams.log.front() == 'b') ++seen;
    }
    EXPECT_GT(seen, 0);
  }
}

// Who waits, waits for the last time that it was recorded so far, whatever is recorded later.
TEST(NullStream, AnEventIsItsLastRecord) {
  Streams streams;
  const Event event = streams.device->new_event();
  streams.work(0, 'a');
  streams.record(event, 0);
  streams.wait(2, event);
  streams.work(2, 'x');
  streams.work(0, 'b');
  streams.record(event, 0);
  streams.synchronize(2);
  EXPECT_EQ(streams.log, "ax");

  streams.record(event, 1);  // nothing comes before it, but b before the one on stream 0
  streams.wait(2, event);
  streams.work(2, 'y');
  streams.synchronize(2);
  EXPECT_EQ(streams.log, "axy");
  streams.synchronize(0);
  EXPECT_EQ(streams.log, "axyb");
}

TEST(NullStream, TheHostWaitsForAnEventAndNoLonger) {
  for (const StreamOrder order : kStreamOrders) {
    Streams streams(order);
    const Event event = streams.device->new_event();
    expect_error([&] { streams.device->wait_for(event); }, "not recorded");
    streams.work(1, 'a');
    streams.record(event, 1);
    streams.work(1, 'b');
    EXPECT_FALSE(streams.device->is_there(event));
    EXPECT_EQ(streams.log, "");
    streams.device->wait_for(event);
    EXPECT_TRUE(streams.device->is_there(event));
    EXPECT_EQ(streams.log, "a");
    streams.record(event, 1);
    EXPECT_FALSE(streams.device->is_there(event)) << "it is its last record";
  }
}

// Streams that would wait for each other: one of the two waits for what is not recorded yet.
TEST(NullStream, AnEventThatNobodyRecordedIsAnError) {
  Streams streams;
  const Event event = streams.device->new_event();
  expect_error([&] { streams.wait(0, event); }, "nobody has recorded");
}

TEST(NullStream, CopiesAreQueued) {
  Streams streams;
  const int from = 7;
  int to = 0;
  copy(&to, &from, sizeof(int), streams.at[0]);
  copy(nullptr, nullptr, 0, streams.at[0]);
  EXPECT_EQ(to, 0);
  streams.synchronize(0);
  EXPECT_EQ(to, 7);
}

TEST(NullDevice, MemoryIsZeroedAndAligned) {
  const auto device = null::make_null_device();
  EXPECT_EQ(device->allocate(0), nullptr);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}}) {
    auto* memory = static_cast<unsigned char*>(device->allocate(bytes));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](unsigned char c) { return c == 0; }));
    device->free(memory);
  }
}

TEST(NullGraph, RunsWhenLaunchedAndEachTime) {
  Streams streams;
  streams.begin_capture(0);
  streams.work(0, 'a');
  streams.work(1, 'x');  // takes no part
  const Graph graph = streams.end_capture(0);
  streams.synchronize(0);
  EXPECT_EQ(streams.log, "");
  streams.synchronize(1);
  EXPECT_EQ(streams.log, "x");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(streams.launched(graph), "a");
}

// Forks from 0 to 1 and from 1 to 2; 2 is joined by 1, 1 by 0. Replays wait as the first run does.
TEST(NullGraph, ForkedStreamsAreCapturedInEveryOrder) {
  for (const StreamOrder order : kStreamOrders) {
    Streams streams(order);
    std::array<Event, 4> events{};
    for (Event& event : events) event = streams.device->new_event();
    streams.begin_capture(0);
    streams.work(0, 'a');
    streams.record(events[0], 0);
    streams.wait(1, events[0]);
    streams.work(1, 'b');
    streams.record(events[1], 1);
    streams.wait(2, events[1]);
    streams.work(2, 'c');
    streams.record(events[2], 2);
    streams.wait(1, events[2]);
    streams.record(events[3], 1);
    streams.wait(0, events[3]);
    streams.work(0, 'd');
    const Graph graph = streams.end_capture(0);
    EXPECT_EQ(streams.log, "");
    for (int i = 0; i < 2; ++i) EXPECT_EQ(streams.launched(graph), "abcd");
    streams.work(1, 'x');  // no longer captured
    streams.synchronize(1);
    EXPECT_EQ(streams.log, "abcdx");
  }
}

TEST(NullGraph, AMissingWaitIsSeen) {
  int seen = 0;
  for (const StreamOrder order : kStreamOrders) {
    Streams streams(order);
    const Event fork = streams.device->new_event(), join = streams.device->new_event();
    streams.begin_capture(0);
    streams.record(fork, 0);
    streams.wait(2, fork);
    streams.work(0, 'a');
    streams.work(2, 'b');  // should come after a
    streams.record(join, 2);
    streams.wait(0, join);
    if (streams.launched(streams.end_capture(0)).front() == 'b') ++seen;
  }
  EXPECT_GT(seen, 0);
}

TEST(NullGraph, AnUnjoinedStreamIsAnError) {
  for (const bool is_late : {false, true}) {  // joined, but before its last work
    Streams streams;
    const Event fork = streams.device->new_event(), join = streams.device->new_event();
    streams.begin_capture(0);
    streams.record(fork, 0);
    streams.wait(1, fork);
    if (is_late) {
      streams.record(join, 1);
      streams.wait(0, join);
    }
    streams.work(1, 'b');
    expect_error([&] { streams.end_capture(0); }, "stream 1 is not joined");
    streams.work(1, 'x');  // the capture is over
    streams.synchronize(1);
    EXPECT_EQ(streams.log, "x");
  }
}

TEST(NullGraph, WhatTheDriverRefusesOfACaptureIsAnError) {
  Streams streams;
  const Event inside = streams.device->new_event(), outside = streams.device->new_event();
  streams.record(outside, 1);
  expect_error([&] { streams.end_capture(0); }, "not begun on");
  streams.begin_capture(0);
  streams.record(inside, 0);
  expect_error([&] { streams.begin_capture(1); }, "a capture within a capture");
  expect_error([&] { streams.synchronize(0); }, "while it is captured");
  expect_error([&] { streams.wait(0, outside); }, "recorded outside");
  expect_error([&] { streams.device->allocate(8); }, "while a stream is captured");
  expect_error([&] { streams.end_capture(1); }, "not begun on");
  streams.end_capture(0);
  expect_error([&] { streams.wait(0, inside); }, "another capture");
}

// Kernels.

template <typename... Parameters, typename... Arguments>
void run(void (*kernel)(Parameters...), const Grid& grid, Arguments... arguments) {
  launch(kernel, grid, nullptr, arguments...);
}

__global__ void count_visits(int* visits) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  ++visits[block * blockDim.x + threadIdx.x];
}

TEST(NullKernel, EachThreadOfEachBlockRunsOnce) {
  in_each_thread_order([] {
    std::vector<int> visits(5 * 3 * 2 * 64);
    run(count_visits, {5, 3, 2, 64}, visits.data());
    EXPECT_TRUE(std::all_of(visits.begin(), visits.end(), [](int v) { return v == 1; }));
  });
}

template <bool with_barrier>
__global__ void reverse(int* values) {
  int* shared = shared_memory<int>();
  shared[threadIdx.x] = values[threadIdx.x];
  if (with_barrier) sync_block();
  values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

TEST(NullKernel, ABarrierHoldsAndAMissingOneIsSeen) {
  in_each_thread_order([] {
    std::vector<int> values(96);
    std::iota(values.begin(), values.end(), 0);
    const std::vector<int> reversed(values.rbegin(), values.rend());
    std::vector<int> without = values;
    run(reverse<true>, {1, 1, 1, 96, 96 * sizeof(int)}, values.data());
    EXPECT_EQ(values, reversed);
    run(reverse<false>, {1, 1, 1, 96, 96 * sizeof(int)}, without.data());
    EXPECT_NE(without, reversed);
  });
}

__global__ void wait_in_half_of_a_warp() {
  if (threadIdx.x % 32 < 16) {
    sync_block();
  } else {
    sync_warp();
  }
}
__global__ void shuffle_in_half_of_a_warp(int* sum) {
  if (threadIdx.x < 16) *sum += shuffle(1, 0);
  sync_block();
}

// What was left behind does not disturb who comes next.
TEST(NullKernel, ThreadsThatNeverMeetAreAnError) {
  in_each_thread_order([] {
    int sum = 0;
    expect_error([&] { run(wait_in_half_of_a_warp, {1, 1, 1, 64}); }, "64 threads of a block wait");
    expect_error([&] { run(shuffle_in_half_of_a_warp, {1, 1, 1, 32}, &sum); }, "32 threads");
    EXPECT_EQ(sum, 0);
    std::vector<int> visits(64);
    run(count_visits, {1, 1, 1, 64}, visits.data());
    EXPECT_EQ(visits, std::vector<int>(64, 1));
  });
}

__global__ void wait_without_the_finished(int* arrived) {
  if (threadIdx.x >= 40) return;
  ++*arrived;
  sync_block();
  if (*arrived != 40) *arrived = -1;
}

TEST(NullKernel, NobodyWaitsForThreadsThatHaveFinished) {
  in_each_thread_order([] {
    int arrived = 0;
    run(wait_without_the_finished, {1, 1, 1, 64}, &arrived);
    EXPECT_EQ(arrived, 40);
  });
}

__global__ void shuffle_around(int* results) {
  const int own = static_cast<int>(threadIdx.x);
  int value = own;
  for (int lanes = 1; lanes < kWarp; lanes *= 2) value += 1000 * shuffle_xor(own, lanes);
  results[own] = value + 1000000 * shuffle(own, 5);
}

TEST(NullKernel, ShufflesStayWithinTheWarp) {
  in_each_thread_order([] {
    std::vector<int> results(96);
    run(shuffle_around, {1, 1, 1, 96}, results.data());
    for (int t = 0; t < 96; ++t) {
      int expected = t + 1000000 * (t / 32 * 32 + 5);
      for (const int lanes : {1, 2, 4, 8, 16}) expected += 1000 * (t ^ lanes);
      EXPECT_EQ(results[static_cast<std::size_t>(t)], expected);
    }
  });
}

__global__ void sum_and_maximum(const float* x, float* results) {
  const float value = x[threadIdx.x];
  const float sum = block_sum(value), largest = block_max(value, -INFINITY);
  const float again = block_sum(2 * value);
  results[3 * threadIdx.x] = sum;
  results[3 * threadIdx.x + 1] = largest;
  results[3 * threadIdx.x + 2] = again;
}

// Powers of two, so that the sums are exact; in every thread.
TEST(NullKernel, BlocksSumInEveryThread) {
  for (const int threads : {32, 64, 96, 1024}) {
    std::vector<float> x(static_cast<std::size_t>(threads));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(1.0f, static_cast<int>(i % 8));
    x[x.size() / 3] = 500;
    const float sum = std::accumulate(x.begin(), x.end(), 0.0f);
    in_each_thread_order([&] {
      std::vector<float> results(3 * x.size());
      run(sum_and_maximum, {1, 1, 1, threads}, x.data(), results.data());
      for (std::size_t t = 0; t < x.size(); ++t) {
        ASSERT_EQ(results[3 * t], sum) << threads << " threads";
        ASSERT_EQ(results[3 * t + 1], 500);
        ASSERT_EQ(results[3 * t + 2], 2 * sum);
      }
    });
  }
}

__global__ void read_shared(int count, float* known) {
  float* shared = shared_memory<float>();
  sync_block();
  for (int i = 0; i < count; ++i) {
    if (!std::isnan(shared[i])) *known = shared[i];
  }
  sync_block();
  for (int i = 0; i < count; ++i) shared[i] = 1;
}

// Neither zeros nor what the block before has left.
TEST(NullKernel, SharedMemoryHoldsNothingAtFirst) {
  float known = 0;
  run(read_shared, {2, 1, 1, 32, 64}, 16, &known);
  EXPECT_EQ(known, 0);
  expect_error(
      [&] {
        run(read_shared, {1, 1, 1, 32}, 16, &known);
      },
      "shared memory that its launch does not give");
}

__global__ void do_nothing() {}

TEST(NullKernel, WhatNoDeviceTakesIsAnErrorWhenItIsQueued) {
  const auto device = null::make_null_device();
  const Stream stream = device->new_stream();
  const std::pair<Grid, const char*> wrong[] = {
      {{0, 1, 1, 32}, "a grid of 0 x 1 x 1"},
      {{1, 65536, 1, 32}, "a grid of 1 x 65536 x 1"},
      {{1, 1, 0, 32}, "a grid of 1 x 1 x 0"},
      {{1, 1, 1, 33}, "a block of 33 threads"},
      {{1, 1, 1, 0}, "a block of 0 threads"},
      {{1, 1, 1, 1056}, "a block of 1056 threads"},
      {{1, 1, 1, 32, 232449}, "232449 bytes of shared memory"}};
  for (const auto& [grid, message] : wrong) {
    expect_error([&, g = grid] { launch(do_nothing, g, stream); }, message);
  }
  launch(do_nothing, {3, 2, 1, 32, 232448}, nullptr);
}

__global__ void fail_in_a_thread() {
  sync_block();
  require(threadIdx.x != 7, "thread 7");
}

TEST(NullKernel, WhatAThreadThrowsReachesWhoWaits) {
  const auto device = null::make_null_device();
  const Stream stream = device->new_stream();
  launch(fail_in_a_thread, {1, 1, 1, 32}, stream);
  expect_error([&] { device->synchronize(stream); }, "thread 7");
  std::vector<int> visits(32);
  run(count_visits, {1, 1, 1, 32}, visits.data());
  EXPECT_EQ(visits, std::vector<int>(32, 1));
}

}  // namespace
}  // namespace bessemer::testing

#endif  // BESSEMER_CUDA

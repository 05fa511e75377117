// A steady step asks the heap for nothing. The functions of malloc are replaced for the whole test
// program by ones that count while a test asks them to, on every thread.
//
// One library does not keep to it: every run of a oneDNN primitive builds a small table of its
// arguments on the heap and frees it (dnnl_primitive_execute). The test counts these apart and
// prints them; they hold no tensor, and our own matrix products, which take most shapes, make none.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <thread>

#include <dlfcn.h>
#include <execinfo.h>

#include <gtest/gtest.h>

#include "data/loader.h"
#include "train/metrics.h"
#include "train/offload.h"
#include "train/resident.h"
#include "train/run.h"
#include "train/step_runner.h"
#include "train/weights.h"

#if !defined(__SANITIZE_ADDRESS__) && defined(__GLIBC__)

namespace {

std::atomic<bool> g_counting{false};
std::atomic<int> g_allocations{0};  // that came from our code
std::atomic<int> g_of_onednn{0};    // that oneDNN made while it ran a primitive
constexpr int kKept = 8, kDepth = 24;
void* g_stacks[kKept][kDepth];  // where the first of ours came from
int g_depths[kKept];

/// From here on allocations count, until g_counting is false.
void start_counting() {
  void* first[1];
  ::backtrace(first, 1);  // its first call allocates
  g_allocations = g_of_onednn = 0;
  g_counting = true;
}

bool in_onednn(void* const* stack, int depth) {
  for (int i = 0; i < depth; ++i) {
    Dl_info where{};
    if (::dladdr(stack[i], &where) != 0 && std::strstr(where.dli_fname, "libdnnl") != nullptr) {
      return true;
    }
  }
  return false;
}

void count_allocation() {
  if (!g_counting.load(std::memory_order_relaxed)) return;
  void* stack[kDepth];
  const int depth = ::backtrace(stack, kDepth);
  if (in_onednn(stack, depth)) {
    ++g_of_onednn;
    return;
  }
  const int number = g_allocations.fetch_add(1);
  if (number >= kKept) return;
  std::copy_n(stack, depth, g_stacks[number]);
  g_depths[number] = depth;
}

}  // namespace

extern "C" {
// glibc's own, under the names it keeps for those who replace the public ones.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  count_allocation();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  count_allocation();
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  count_allocation();
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  count_allocation();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count_allocation();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  count_allocation();
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
}

namespace bessemer::testing {
namespace {

// Sequences of counting tokens, one document each.
class CountingSource : public data::SequenceSource {
 public:
  explicit CountingSource(std::int64_t length, std::int32_t vocabulary)
      : length_(length), vocabulary_(vocabulary) {}
  std::int64_t sequence_length() const override { return length_; }
  std::int64_t read(std::uint64_t index, const data::SequenceView& to) const override {
    for (std::int64_t t = 0; t < length_; ++t) {
      const auto i = static_cast<std::size_t>(t);
      to.tokens[i] = static_cast<std::int32_t>(index + i) % vocabulary_;
      to.targets[i] = static_cast<std::int32_t>(index + i + 1) % vocabulary_;
      to.positions[i] = static_cast<std::int32_t>(t);
      to.visibility[2 * i] = 0;
      to.visibility[2 * i + 1] = static_cast<std::int32_t>(length_);
    }
    return length_;
  }
  void visit(std::uint64_t index, const data::OriginVisitor& visitor) const override {
    visitor({0, static_cast<std::uint32_t>(index), 0, static_cast<std::uint32_t>(length_)});
  }

 private:
  std::int64_t length_;
  std::int32_t vocabulary_;
};

class SteadyStep : public ::testing::TestWithParam<const char*> {};

TEST_P(SteadyStep, AllocatesNothing) {
  const RunPlace place;
  config::RunConfig config =
      place.config("run", 10, {GetParam(), "memory.file=" + place.path().string() + ":64MiB"});
  config.model.hidden = 64;
  config.model.ffn = 96;
  const models::Architecture model = models::resolve(config.model, 280, 16);
  passes::Runner passes;
  const train::CompiledRun compiled =
      train::compile_run(config, model, cost::describe_here(), passes);
  ASSERT_EQ(compiled.micro_batches, 2);
  const runtime::Executor executor(compiled.plan, train::executor_options(config));
  train::draw_parameters(model, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  runner.refresh();
  data::LoaderOptions options;
  options.micro_batch_size = 2;
  options.micro_batches = 2;
  data::Loader loader(std::make_shared<CountingSource>(16, 280), options);
  train::MetricsFile metrics(place.path() / "metrics.jsonl", 0);

  constexpr int kSteps = 5, kWarm = 2;
  for (int step = 1; step <= kSteps; ++step) {
    if (step == kWarm + 1) start_counting();
    const data::Loader::Next next = loader.next();
    const train::StepResult result = runner.run(next.batch, 1e-3, step);
    train::StepMetrics m;
    m.step = step;
    m.loss = result.loss;
    m.gradient_norm = result.gradient_norm;
    metrics.write(m);
  }
  g_counting = false;
  const int allocations = g_allocations;
  for (int i = 0; i < std::min(allocations, kKept); ++i) {
    std::fprintf(stderr, "allocation %d of %d:\n", i + 1, allocations);
    ::backtrace_symbols_fd(g_stacks[i], g_depths[i], 2);
  }
  std::printf("allocations of %d steps: ours %d, oneDNN's argument tables %d\n", kSteps - kWarm,
              allocations, g_of_onednn.load());
  EXPECT_EQ(allocations, 0);
}

INSTANTIATE_TEST_SUITE_P(Recipes, SteadyStep,
                         ::testing::Values("precision.recipe=fp32", "precision.recipe=bf16"),
                         [](const auto& test) { return std::string(test.param).substr(17); });
INSTANTIATE_TEST_SUITE_P(
    Tiers, SteadyStep,
    ::testing::Values("memory.offload=optimizer:host,gradients:host,parameters:host",
                      "memory.offload=optimizer:file,gradients:file,parameters:host,"
                      "activations:file"),
    [](const auto& test) {
      return std::string(test.param).find("file") == std::string::npos ? "host" : "file";
    });

// The counter itself: it sees what any thread of the program allocates.
TEST(AllocationCounter, Counts) {
  start_counting();
  auto* one = new int(1);
  std::thread([] { delete new int(2); }).join();
  g_counting = false;
  delete one;
  EXPECT_GE(g_allocations, 3);  // two numbers and the thread
}

}  // namespace
}  // namespace bessemer::testing

#endif

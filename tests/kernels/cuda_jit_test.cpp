// Compilation while the program runs, and what keeps its results.
#include <array>
#include <atomic>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory.h"
#include "kernels/cuda/code_cache.h"
#include "kernels/cuda/jit.h"
#include "kernels/cuda/nvrtc.h"
#include "support/cuda_device.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
using kernels::cuda::CodeCache;

/// With bytes of every kind.
std::string some_code(std::size_t size = 5000) {
  std::string code(size, '\0');
  for (std::size_t i = 0; i < size; ++i) code[i] = static_cast<char>(i * 37 + i / 256);
  return code;
}

std::size_t files_in(const std::filesystem::path& directory) {
  const std::filesystem::directory_iterator files(directory);
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

void replace_file(const std::filesystem::path& path, const std::string& bytes) {
  write_file_atomically(path, bytes, Flush::later);
}

/// Whether code of `key` is made (not found) by a get that would make `code`.
bool makes(const CodeCache& cache, const std::string& key, const std::string& code) {
  bool made = false;
  EXPECT_EQ(cache.get(key,
                      [&] {
                        made = true;
                        return code;
                      }),
            code);
  return made;
}

TEST(CodeCache, KeepsWhatWasMade) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "some" / "cache";
  EXPECT_TRUE(makes(CodeCache(path), "a", some_code()));
  EXPECT_FALSE(makes(CodeCache(path), "a", some_code()));
  EXPECT_TRUE(makes(CodeCache(path), "b", some_code(3)));
  EXPECT_TRUE(makes(CodeCache(path), "c", ""));
  EXPECT_FALSE(makes(CodeCache(path), "c", ""));
  EXPECT_FALSE(makes(CodeCache(path), "b", some_code(3)));
  EXPECT_EQ(files_in(path), 3u);
}

TEST(CodeCache, WithoutADirectoryNothingIsKept) {
  EXPECT_TRUE(makes(CodeCache(""), "a", "1"));
  EXPECT_TRUE(makes(CodeCache(""), "a", "1"));
}

TEST(CodeCache, BrokenFilesAreMadeAnew) {
  const TemporaryDirectory directory;
  const CodeCache cache(directory.path());
  const std::string key = "a key of some length";
  makes(cache, key, some_code(200));
  const std::string whole = read_file(cache.path_of(key));
  for (std::size_t length = 0; length < whole.size(); length += 7) {
    replace_file(cache.path_of(key), whole.substr(0, length));
    EXPECT_TRUE(makes(cache, key, some_code(200))) << "cut to " << length;
    EXPECT_FALSE(makes(cache, key, some_code(200))) << "after a repair";
  }
  for (std::size_t at = 0; at < whole.size(); at += 5) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 4);
    replace_file(cache.path_of(key), changed);
    EXPECT_TRUE(makes(cache, key, some_code(200))) << "changed at " << at;
  }
  replace_file(cache.path_of(key), whole + "more");
  EXPECT_TRUE(makes(cache, key, some_code(200)));
  EXPECT_EQ(files_in(directory.path()), 1u);
}

// As if two keys had one hash.
TEST(CodeCache, CodeOfAnotherKeyIsNotTaken) {
  const TemporaryDirectory directory;
  const CodeCache cache(directory.path());
  makes(cache, "a", "code of a");
  std::filesystem::rename(cache.path_of("a"), cache.path_of("b"));
  EXPECT_TRUE(makes(cache, "b", "code of b"));
}

TEST(CodeCache, WhereItCannotWriteItStillGives) {
  const TemporaryDirectory directory;
  replace_file(directory.path() / "file", "");
  const CodeCache cache(directory.path() / "file" / "within");
  EXPECT_TRUE(makes(cache, "a", some_code()));
  EXPECT_TRUE(makes(cache, "a", some_code()));
}

TEST(CodeCache, ThreadsRace) {
  const TemporaryDirectory directory;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const std::string key = std::to_string(i);
        const auto make = [&] { return key + some_code(); };
        wrong += CodeCache(directory.path()).get(key, make) != key + some_code();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(files_in(directory.path()), 20u) << "what was being written is gone";
}

/// Two children that begin together each get the same key; how many were right.
int right_of_two(const CodeCache& cache, const std::string& key, const std::string& code) {
  int gate[2];
  EXPECT_EQ(::pipe(gate), 0);
  pid_t children[2];
  for (pid_t& child : children) {
    child = ::fork();
    if (child != 0) continue;
    ::close(gate[1]);
    char byte;
    static_cast<void>(!::read(gate[0], &byte, 1));  // until the parent closes its end
    ::_exit(cache.get(key, [&] { return code; }) == code ? 0 : 1);
  }
  ::close(gate[0]);
  ::close(gate[1]);
  int right = 0;
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    right += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 : 0;
  }
  return right;
}

TEST(CodeCache, ProcessesRace) {
  const TemporaryDirectory directory;
  const CodeCache cache(directory.path());
  for (int i = 0; i < 10; ++i) {
    const std::string key = std::to_string(i), code = key + some_code(1 << 16);
    EXPECT_EQ(right_of_two(cache, key, code), 2);
    EXPECT_FALSE(makes(cache, key, code)) << "whole after the race";
  }
  EXPECT_EQ(files_in(directory.path()), 10u);
}

constexpr const char* kFill = R"(
extern "C" __global__ void fill(long long* to, long long value) {
  to[blockIdx.x * blockDim.x + threadIdx.x] = value;
}
)";

class Jit : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << "there is no CUDA device";
  }
};

TEST_F(Jit, CompilesASourceOnce) {
  const cuda::CompiledKernel& fill = cuda::compile(kFill, "fill");
  EXPECT_EQ(&fill, &cuda::compile(kFill, "fill"));
  EXPECT_NE(&fill, &cuda::compile(std::string(kFill) + "// another", "fill"));
}

TEST_F(Jit, ArgumentsAreTakenAtTheLaunch) {
  const OnDevice to(nullptr, 128 * sizeof(std::int64_t));
  std::array<std::uint64_t, 2> arguments{reinterpret_cast<std::uint64_t>(to.data()), 42};
  cuda::compile(kFill, "fill").launch(2, 64, cuda_stream(), arguments);
  arguments = {0, 0};
  std::array<std::int64_t, 128> values{};
  to.read(values.data());
  for (const std::int64_t value : values) EXPECT_EQ(value, 42);
}

TEST_F(Jit, KeepsCodeForTheNextRun) {
  const TemporaryDirectory directory;
  cuda::set_code_cache(directory.path());
  cuda::compile(std::string(kFill) + "// kept", "fill");
  EXPECT_EQ(files_in(directory.path()), 1u);
  cuda::set_code_cache("");
  cuda::compile(std::string(kFill) + "// not kept", "fill");
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST_F(Jit, SaysWhatTheCompilerSays) {
  try {
    cuda::compile("extern \"C\" __global__ void broken() { undeclared = 1; }\n", "broken");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.find("is undefined") != std::string::npos ||      // NVRTC
                text.find("was not declared") != std::string::npos ||  // GCC
                text.find("use of undeclared") != std::string::npos)   // Clang
        << text;
    EXPECT_NE(text.find("undeclared = 1;"), std::string::npos) << text;
  }
}

TEST(Nvrtc, SaysWhatIsWrongWithSource) {
  if (!cuda::nvrtc().is_open()) GTEST_SKIP() << cuda::nvrtc().problem();
  try {
    cuda::nvrtc_compile("__global__ void broken() { undeclared = 1; }\n", "sm_90a");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("identifier \"undeclared\" is undefined"), std::string::npos) << text;
    EXPECT_NE(text.find("undeclared = 1;"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace bessemer::testing

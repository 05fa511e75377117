// `data build` killed at random moments: what is whole stays and is not made again, nothing
// half-written has a final name, and the files are in the end those of a build that was not killed.
#include <chrono>
#include <cmath>
#include <csignal>
#include <map>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "cli/command.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizer = BESSEMER_SOURCE_DIR "/tests/data/golden/gpt2.json";

struct Case {
  const char* name;
  std::vector<std::string> files;
  std::size_t made;  // files with final names
};

const Case kCases[] = {
    {"texts", {"lines.txt", "json.jsonl"}, 6},
    {"conversations", {"chat.jsonl"}, 4},  // with the mask of what is trained
};

class BuildKilledTest : public CommandTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    std::string lines, json, chat;
    for (int i = 0; lines.size() < 4'000'000; ++i) {
      const std::string text = "line " + std::to_string(i * 7919 % 100003) + " of many";
      lines += text + "\n";
      if (i % 900 == 0) lines += "<|endoftext|>\n";
      if (i % 2 == 0) json += "{\"text\": \"" + text + "\"}\n";
      if (i % 3 == 0) {
        chat += R"({"messages": [{"role": "user", "content": "Which?"}, )"
                R"({"role": "assistant", "content": ")" +
                text + "\"}]}\n";
      }
    }
    write("lines.txt", lines);
    write("json.jsonl", json);
    write("chat.jsonl", chat);
  }

  /// Starts a build into `out`.
  static ::pid_t start(const std::string& out) {
    const ::pid_t child = ::fork();
    if (child != 0) return child;
    const int log = ::open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    std::vector<std::string> words{BESSEMER_BINARY_DIR "/bessemer", "data", "build"};
    words.insert(words.end(), GetParam().files.begin(), GetParam().files.end());
    words.insert(words.end(), {"--tokenizer", kTokenizer, "--out", out});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv.front(), argv.data());
    ::_exit(127);
  }

  /// Kills the build `out` after a while; whether it was done before that.
  static bool done_within(const std::string& out, std::chrono::microseconds time) {
    const ::pid_t child = start(out);
    std::this_thread::sleep_for(time);
    ::kill(child, SIGKILL);
    return ended_well(child);
  }

  static bool ended_well(::pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) return false;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return true;
  }

  struct Files {
    std::map<std::string, ::ino_t> parts;
    std::map<std::string, std::string> tokens;  // of the files that have a final name
  };
  static Files look(const std::string& out) {
    Files files;
    if (!fs::exists(out)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(out)) {
      struct stat info {};
      ::stat(entry.path().c_str(), &info);
      const std::string extension = entry.path().extension();
      if (extension == ".part") files.parts[entry.path()] = info.st_ino;
      const bool tokens = extension == ".bin" || extension == ".idx" || extension == ".places" ||
                          extension == ".loss";
      if (tokens) files.tokens[entry.path().filename()] = read_file(entry.path());
    }
    return files;
  }
};

TEST_P(BuildKilledTest, GoesOnFromWhatIsWhole) {
  ASSERT_TRUE(ended_well(start("whole")));
  const Files expected = look("whole");
  ASSERT_EQ(expected.tokens.size(), GetParam().made);
  EXPECT_TRUE(expected.parts.empty());
  const CounterRng random(7, 0, 0);
  Files before;
  std::size_t most_parts = 0;
  int kills = 0;
  for (bool done = false; !done; ++kills) {
    ASSERT_LT(kills, 100);
    // Longer and longer, so that even a slow machine gets to the end at last.
    const double most = 0.04 * std::pow(1.1, kills);
    const double share = random.uniform(static_cast<std::uint64_t>(kills));
    const std::chrono::duration<double> time(0.01 + share * most);
    done = done_within("killed", std::chrono::duration_cast<std::chrono::microseconds>(time));
    const Files after = look("killed");
    for (const auto& [name, bytes] : after.tokens) {
      EXPECT_TRUE(bytes == expected.tokens.at(name)) << name;
    }
    for (const auto& [path, inode] : before.parts) {
      const auto found = after.parts.find(path);
      EXPECT_TRUE(found == after.parts.end() || found->second == inode) << path;
    }
    before = after;
    most_parts = std::max(most_parts, after.parts.size());
  }
  const std::string log = read_file("log");
  EXPECT_GT(kills, 1);
  EXPECT_GT(most_parts, 0u);
  EXPECT_NE(log.find("parts that an earlier build left"), log.npos) << log;
  const Files got = look("killed");
  EXPECT_EQ(got.tokens.size(), GetParam().made);
  EXPECT_TRUE(got.parts.empty());
  EXPECT_EQ(read_file("killed/manifest.json"), read_file("whole/manifest.json"));
}

INSTANTIATE_TEST_SUITE_P(Of, BuildKilledTest, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace bessemer::cli

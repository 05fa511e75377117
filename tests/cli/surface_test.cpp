// The command line as users and scripts know it: every --help, frozen.
#include <cstdio>

#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/command.h"

namespace bessemer::cli {
namespace {

// Where a change is meant:  cp build/help.txt tests/cli/golden/help.txt
TEST(Surface, HelpIsFrozen) {
  const std::filesystem::path golden = BESSEMER_SOURCE_DIR "/tests/cli/golden/help.txt";
  const std::filesystem::path now = BESSEMER_BINARY_DIR "/help.txt";
  const std::string help = all_help();
  write_file_atomically(now, help);
  ASSERT_TRUE(std::filesystem::exists(golden));
  EXPECT_EQ(help, read_file(golden))
      << "the command line has changed; if that is meant: cp " << now << " " << golden;
}

TEST(Surface, EveryCommandIsThere) {
  const std::string help = all_help();
  for (const char* command :
       {"train", "plan", "generate", "eval", "tokenizer train", "tokenizer encode",
        "tokenizer decode", "data build", "data info", "data which", "data stats", "data peek",
        "import", "export", "inspect", "doctor"}) {
    EXPECT_NE(help.find(std::string("$ bessemer ") + command + " --help\n"), std::string::npos)
        << command;
  }
}

using SurfaceTest = CommandTest;

TEST_F(SurfaceTest, HelpAndVersionGoToStandardOutput) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"-h"}, {"plan", "--help"}, {"data", "info", "-h"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_NE(outcome.out.find("Usage: bessemer"), std::string::npos) << outcome.out;
    EXPECT_EQ(outcome.err, "");
  }
  EXPECT_EQ(run({"--version"}).out, std::string("bessemer ") + kVersion + "\n");
}

TEST_F(SurfaceTest, GlobalOptionsMayFollowTheCommand) {
  EXPECT_EQ(run({"doctor", "--log-level", "loud"}).code, kUserError);
  EXPECT_EQ(run({"doctor", "--threads", "0"}).code, kUserError);
}

}  // namespace
}  // namespace bessemer::cli

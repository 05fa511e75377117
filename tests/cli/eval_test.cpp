// `bessemer eval` reads its data as the run read its own.

#include <fmt/format.h>

#include "cli/calibrated_command.h"

namespace bessemer::cli {
namespace {

constexpr const char* kRun = R"([model]
architecture = "llama"
layers = 1
hidden = 32
heads = 2
kv_heads = 1
[data]
sequence_length = 32
vocabulary = 300
validation_fraction = 0.0
text_field = "body"
[[data.source]]
name = "talks"
path = "talks.jsonl"
format = "messages"
template = "llama3"
{}
[train]
name = "first"
steps = 1
evaluate_every = 0
[log]
level = "warn"
)";

class EvalTest : public CalibratedCommandTest {
 protected:
  void SetUp() override {
    CalibratedCommandTest::SetUp();
    std::string talks, texts;
    for (int i = 0; i < 40; ++i) {
      talks += fmt::format(
          R"({{"messages": [{{"role": "user", "content": "what is {0}"}}, {{"role": "assistant", "content": "{0} is {0}"}}]}})"
          "\n",
          i);
      texts += fmt::format(R"({{"body": "the cat {0} sat on the mat {0}"}})"
                           "\n",
                           i);
    }
    write("talks.jsonl", talks);
    write("others.jsonl", talks);
    write("texts.jsonl", texts);
  }

  void train(const std::string& sources) {
    write("run.toml", fmt::format(fmt::runtime(kRun), sources));
    const Outcome outcome = run({"train", "run.toml"});
    ASSERT_EQ(outcome.code, kDone) << outcome.err;
  }

  /// What eval prints behind the name of the data; "" with a failure noted.
  std::string evaluate(const std::string& data, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"eval", "runs/first", "--data", data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, kDone) << data << ": " << outcome.err;
    const auto at = outcome.out.find("tokens ");
    return at == outcome.out.npos ? "" : outcome.out.substr(at);
  }
};

TEST_F(EvalTest, RendersConversationsAsTheRunDid) {
  train("");
  const std::string own = evaluate("talks.jsonl");
  EXPECT_EQ(evaluate("talks.jsonl", {"--template", "llama3"}), own);
  EXPECT_EQ(evaluate("others.jsonl"), own) << "another file of conversations";
  EXPECT_NE(evaluate("others.jsonl", {"--template", "chatml"}), own);
  EXPECT_EQ(run({"eval", "runs/first", "--data", "others.jsonl", "--template", "x"}).code,
            kUserError);
}

TEST_F(EvalTest, AsksWhichTemplateWhereTheRunHasSeveral) {
  train(
      "[[data.source]]\nname = \"others\"\npath = \"others.jsonl\"\ntemplate = \"zephyr\"\n"
      "[[data.source]]\nname = \"texts\"\npath = \"texts.jsonl\"\n");
  write("third.jsonl", read_file("talks.jsonl"));
  const Outcome outcome = run({"eval", "runs/first", "--data", "third.jsonl"});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("third.jsonl: the run has sources with the chat templates llama3, "
                             "zephyr; say with --template"),
            std::string::npos)
      << outcome.err;
  const std::string zephyr = evaluate("third.jsonl", {"--template", "zephyr"});
  EXPECT_EQ(evaluate("others.jsonl"), zephyr) << "this source has a template of its own";
  EXPECT_NE(evaluate("talks.jsonl"), zephyr);
  evaluate("texts.jsonl");  // no conversations, and the run's key of the text
}

TEST_F(EvalTest, FindsTheTextUnderTheKeyOfTheRun) {
  train("[[data.source]]\nname = \"texts\"\npath = \"texts.jsonl\"\n");
  const std::string own = evaluate("texts.jsonl");
  EXPECT_EQ(evaluate("texts.jsonl", {"--text-field", "body"}), own);
  EXPECT_EQ(run({"eval", "runs/first", "--data", "texts.jsonl", "--text-field", "text"}).code,
            kUserError);
}

}  // namespace
}  // namespace bessemer::cli

// `--set section.key=value`.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/parse.h"

namespace bessemer::config {
namespace {

constexpr char kRun[] =
    "[model]\narchitecture = \"llama\"\nlayers = 4\nhidden = 128\nheads = 4\n"
    "[train]\nsteps = 300\n"
    "[[data.source]]\npath = \"a.txt\"\n[[data.source]]\npath = \"b.txt\"\n";

RunConfig with(const std::vector<std::string>& overrides) {
  return parse_run_config(kRun, "run.toml", overrides);
}

std::string error_of(const std::vector<std::string>& overrides) {
  try {
    with(overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Override, WinsOverTheFileAndEarlierOnes) {
  EXPECT_EQ(with({"train.steps=5"}).train.steps, 5);
  EXPECT_EQ(with({"train.steps=5", "train.steps = 6"}).train.steps, 6);
  EXPECT_EQ(with({"optimizer.lr=1e-4"}).optimizer.learning_rate, 1e-4);
  EXPECT_EQ(with({"optimizer.learning_rate=1", "optimizer.lr=2"}).optimizer.learning_rate, 2.0);
  EXPECT_EQ(with({"train.max_tokens=1e6"}).train.max_tokens, 1'000'000);
  EXPECT_EQ(with({"model.tied_embeddings=true"}).model.tied_embeddings, true);
}

TEST(Override, BareWordsAreText) {
  EXPECT_EQ(with({"optimizer.schedule=wsd"}).optimizer.schedule, Schedule::wsd);
  EXPECT_EQ(with({"train.name=second-try"}).train.name, "second-try");
  EXPECT_EQ(with({"train.name=2024-01-01"}).train.name, "2024-01-01");
  EXPECT_EQ(with({"train.name=7"}).train.name, "7");
  EXPECT_EQ(with({"train.name=\"quoted name\""}).train.name, "quoted name");
  EXPECT_EQ(with({"train.sample_prompt=Once upon\na time"}).train.sample_prompt,
            "Once upon\na time");
  EXPECT_EQ(with({"train.sample_prompt="}).train.sample_prompt, "");
  EXPECT_EQ(with({"train.sample_prompt=a=b"}).train.sample_prompt, "a=b");
  EXPECT_EQ(with({"memory.device=2GiB"}).memory.device, Bytes{2ull << 30});
}

TEST(Override, ReachesSourcesAndTables) {
  EXPECT_EQ(with({"data.source[1].weight=3"}).data.sources[1].weight, 3.0);
  const auto one = with({"data.path=c.txt"}).data.sources;
  EXPECT_EQ(one, (std::vector<DataSource>{{"c", "c.txt", 1.0}}));
  const auto three = with({"data.source=[{path=\"x\"},{path=\"y\"},{path=\"z\"}]"}).data.sources;
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[2].name, "z");
  const auto scaling = with({"model.rope_scaling={type=\"linear\",factor=2}"}).model.rope_scaling;
  ASSERT_TRUE(scaling);
  EXPECT_EQ(scaling->type, RopeScalingType::linear);
  EXPECT_EQ(scaling->factor, 2.0);
}

TEST(Override, MistakesQuoteTheArgument) {
  EXPECT_EQ(error_of({"train.stps=3"}),
            "--set train.stps=3: train.stps: unknown key; did you mean steps?");
  EXPECT_EQ(error_of({"train.steps=many"}),
            "--set train.steps=many: train.steps: expected an integer of at least 1, found 'many'");
  EXPECT_EQ(error_of({"train.steps"}), "--set train.steps: expected section.key=value");
  EXPECT_EQ(error_of({"=3"}), "--set =3: expected section.key=value");
  EXPECT_EQ(error_of({""}), "--set : expected section.key=value");
  EXPECT_EQ(error_of({"steps=3"}),
            "--set steps=3: steps: unknown key; keys stand in a [section]; steps belongs in "
            "[train]");
  EXPECT_EQ(error_of({"train=3"}), "--set train=3: train: expected a section, [train], found '3'");
  EXPECT_EQ(error_of({"data.source[2].path=x"}),
            "--set data.source[2].path=x: data.source[2].path: there are 2 [[data.source]] "
            "tables, counted from 0");
  EXPECT_NE(error_of({"train.name=\xff"}), "");
}

TEST(Override, CannotSmuggleInOtherKeys) {
  const RunConfig config = with({"train.sample_prompt=1\ntrain.steps=9"});
  EXPECT_EQ(config.train.steps, 300);
  EXPECT_EQ(config.train.sample_prompt, "1\ntrain.steps=9");
}

}  // namespace
}  // namespace bessemer::config

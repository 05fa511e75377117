// `--device` of commands that run a model. On the null device they say what the processor says.
#include <fmt/format.h>

#include "cli/calibrated_command.h"
#ifndef BESSEMER_CUDA
#include "kernels/cuda/null/stream.h"
#endif

namespace bessemer::cli {
namespace {

constexpr const char* kRun = R"([model]
architecture = "llama"
layers = 1
hidden = 16
heads = 2
kv_heads = 1
[data]
path = "text.txt"
sequence_length = 16
vocabulary = 280
[train]
name = "first"
steps = 1
evaluate_every = 0
[precision]
recipe = "fp32"
[log]
level = "warn"
)";

class DeviceTest : public CalibratedCommandTest {
 protected:
  void SetUp() override {
    CalibratedCommandTest::SetUp();
    std::string text;
    for (int i = 0; i < 60; ++i) text += fmt::format("the cat {0} sat on the mat {0}\n", i);
    write("text.txt", text);
    write("run.toml", kRun);
    const Outcome outcome = run({"train", "run.toml"});
    ASSERT_EQ(outcome.code, kDone) << outcome.err;
  }

  Outcome evaluate(const std::vector<std::string>& more) {
    std::vector<std::string> all{"eval", "runs/first", "--data", "text.txt", "--batch", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  Outcome generate(const std::vector<std::string>& more) {
    std::vector<std::string> all{"generate",     "runs/first", "--prompt",      "the cat",
                                 "--max-tokens", "4",          "--temperature", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
};

TEST_F(DeviceTest, RefusesWhatIsNone) {
  const Outcome outcome = evaluate({"--device", "gpu"});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("expected cpu, cuda, cuda:N or auto"), std::string::npos)
      << outcome.err;
  EXPECT_EQ(evaluate({"--device", "auto"}).code, kDone);
}

#ifndef BESSEMER_CUDA

TEST_F(DeviceTest, SaysWhoAskedForOneThatIsNotThere) {
  Outcome outcome = generate({"--device", "cuda:1"});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("--device \"cuda:1\": this program was built without CUDA"),
            std::string::npos)
      << outcome.err;
  const std::string config = read_file("runs/first/run.toml");
  std::string of_cuda = config;
  of_cuda.replace(of_cuda.find("device = \"cpu\""), 14, "device = \"cuda\"");
  write("runs/first/run.toml", of_cuda);
  outcome = evaluate({});
  EXPECT_EQ(outcome.code, kUserError);
  EXPECT_NE(outcome.err.find("trained on (--device names another), \"cuda:0\""), std::string::npos)
      << outcome.err;
  EXPECT_EQ(evaluate({"--device", "cpu"}).code, kDone);
}

TEST_F(DeviceTest, IsWhereAModelRuns) {
  const std::string loss = "loss           ";
  const auto loss_of = [&](const Outcome& outcome) {
    EXPECT_EQ(outcome.code, kDone) << outcome.err;
    const auto at = outcome.out.find(loss);
    return at == std::string::npos ? 0 : std::stod(outcome.out.substr(at + loss.size()));
  };
  const kernels::cuda::null::OfferNullDevice device;
  const double expected = loss_of(evaluate({"--device", "cpu"}));
  EXPECT_GT(expected, 1);
  EXPECT_NEAR(loss_of(evaluate({"--device", "cuda"})), expected, 1e-4 * expected);
  const Outcome text = generate({"--device", "cuda"});
  EXPECT_EQ(text.code, kDone) << text.err;
  EXPECT_EQ(text.out, generate({}).out);
}

#endif

}  // namespace
}  // namespace bessemer::cli

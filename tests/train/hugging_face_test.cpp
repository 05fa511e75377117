// Our weights, written as a Hugging Face directory and read back, give the same logits.
#include <cstring>

#include <gtest/gtest.h>

#include "checkpoint/hugging_face.h"
#include "passes/pipeline.h"
#include "support/model_inputs.h"
#include "train/model_directory.h"
#include "train/run.h"
#include "train/weights.h"

namespace bessemer::testing {
namespace {

/// The parameters of an executor under our names.
class ExecutorSource : public checkpoint::TensorSource {
 public:
  explicit ExecutorSource(const runtime::Executor& executor) : executor_(executor) {}
  std::optional<checkpoint::TensorView> find(std::string_view name) const override {
    if (executor_.plan().find_tensor(name) == nullptr) return std::nullopt;
    const runtime::TensorBytes tensor = executor_.tensor(name);
    return checkpoint::TensorView{tensor.type, {tensor.data, tensor.bytes()}};
  }
  std::vector<std::string> names() const override { return {}; }
  std::string place() const override { return "executor"; }

 private:
  const runtime::Executor& executor_;
};

struct Model {
  explicit Model(const models::Architecture& architecture)
      : graphs(passes::compile_forward(models::logits_graph(architecture, {2, 6}),
                                       passes::Recipe::fp32, runner)),
        plan(plan::make_plan({&graphs.forward}, cost::describe_here())),
        executor(plan) {
    for (const ir::Input& input : graphs.forward.inputs()) {
      if (input.role != ir::Role::data) continue;
      const runtime::TensorBytes port = executor.data("forward", input.name);
      const Tensor value = value_for(input, port.type, architecture.vocabulary, 1);
      std::memcpy(port.data, value.data(), port.bytes());
    }
  }

  std::string logits() const {
    executor.run("forward");
    const runtime::TensorBytes result = executor.result("forward", "logits");
    return {reinterpret_cast<const char*>(result.data), result.bytes()};
  }

  passes::Runner runner;
  passes::ForwardGraphs graphs;
  plan::Plan plan;
  runtime::Executor executor;
};

struct RoundTripCase {
  const char* name;
  models::Architecture architecture;
};

class RoundTrip : public ::testing::TestWithParam<RoundTripCase> {};

TEST_P(RoundTrip, KeepsTheLogits) {
  const RunPlace place;
  const models::Architecture& architecture = GetParam().architecture;
  const Model ours(architecture);
  train::draw_parameters(architecture, 5, train::into(ours.executor));
  for (const plan::CatalogEntry& entry : ours.plan.catalog) {  // biases and gains that count
    if (entry.type.rank() != 1) continue;
    const Tensor noise = normal(entry.type, seed_of(entry.name, 1), 0.3);
    for (std::int64_t i = 0; i < noise.size(); ++i) {
      ours.executor.tensor(entry.name).as<float>()[i] += static_cast<float>(noise.get(i));
    }
  }
  const fs::path directory = place.path() / "exported";
  train::write_hugging_face_model(architecture, ExecutorSource(ours.executor), {}, directory);

  const train::ModelDirectory read = train::open_model(directory);
  EXPECT_EQ(read.architecture, architecture);
  EXPECT_TRUE(read.tokenizer.empty());
  const Model theirs(read.architecture);
  train::read_parameters(read.architecture, *read.tensors, train::into(theirs.executor));
  EXPECT_TRUE(theirs.logits() == ours.logits());
}

models::Architecture with(models::Architecture architecture,
                          void (*change)(models::Architecture& a)) {
  change(architecture);
  return architecture;
}

INSTANTIATE_TEST_SUITE_P(
    Families, RoundTrip,
    ::testing::Values(RoundTripCase{"gpt2", tiny_gpt2()},
                      RoundTripCase{"gpt2_untied_exact_gelu", with(tiny_gpt2(),
                                                                   [](models::Architecture& a) {
                                                                     a.tied_embeddings = false;
                                                                     a.gelu_tanh = false;
                                                                   })},
                      RoundTripCase{"llama_grouped", tiny_llama()},
                      RoundTripCase{"llama_tied", with(tiny_llama(),
                                                       [](models::Architecture& a) {
                                                         a.tied_embeddings = true;
                                                         a.rope_theta = 5000;
                                                       })},
                      RoundTripCase{"llama_with_biases", with(tiny_llama(),
                                                              [](models::Architecture& a) {
                                                                a.qkv_bias = a.output_bias =
                                                                    a.mlp_bias = true;
                                                              })},
                      RoundTripCase{"qwen2", with(tiny_llama(),
                                                  [](models::Architecture& a) {
                                                    a.qkv_bias = true;
                                                    a.attention_window = 3;
                                                  })},
                      RoundTripCase{"mistral",
                                    with(tiny_llama(),
                                         [](models::Architecture& a) { a.attention_window = 3; })}),
    [](const auto& test) { return test.param.name; });

TEST(ReadParameters, NamesTheTensorThatDoesNotFit) {
  const RunPlace place;
  const Model small(tiny_llama());
  train::draw_parameters(tiny_llama(), 5, train::into(small.executor));
  const fs::path directory = place.path() / "small";
  train::write_hugging_face_model(tiny_llama(), ExecutorSource(small.executor), {}, directory);
  const auto source = checkpoint::open_hugging_face(directory);

  const auto wider = with(tiny_llama(), [](models::Architecture& a) { a.ffn = 16; });
  const auto deeper = with(tiny_llama(), [](models::Architecture& a) { a.layers = 3; });
  const auto message = [&](const models::Architecture& architecture) {
    const Model model(architecture);
    return message_of<InputError>(
        [&] { train::read_parameters(architecture, *source, train::into(model.executor)); });
  };
  EXPECT_NE(message(wider).find("tensor model.layers.0.mlp.gate_proj.weight is fp32[12,8], which "
                                "does not hold layers.0.mlp.gate.weight [16,8]"),
            std::string::npos)
      << message(wider);
  EXPECT_NE(message(deeper).find("tensor model.layers.2.input_layernorm.weight is missing"),
            std::string::npos)
      << message(deeper);
}

TEST(OpenModel, OpensRunsAndCheckpointsAndRefusesOthers) {
  const RunPlace place;
  ASSERT_EQ(train::train(place.config("run", 3), {}), train::RunEnd::done);
  const fs::path run = place.run("run");
  for (const fs::path& path : {run, run / "checkpoints" / "step_000003"}) {
    const train::ModelDirectory model = train::open_model(path);
    EXPECT_EQ(model.architecture.hidden, 16);
    EXPECT_EQ(model.architecture.family, models::Family::llama);
    EXPECT_TRUE(model.tensors->find("layers.1.mlp.down.weight").has_value());
    EXPECT_EQ(fs::weakly_canonical(model.tokenizer), fs::weakly_canonical(run / "tokenizer.json"));
    EXPECT_TRUE(model.description.ends_with("run, step 3")) << model.description;
  }
  EXPECT_NE(message_of<InputError>([&] {
              train::open_model(place.path());
            }).find("neither a run with checkpoints/ nor a Hugging Face directory"),
            std::string::npos);
  EXPECT_NE(message_of<InputError>([&] {
              train::open_model(place.path() / "no");
            }).find("no such directory"),
            std::string::npos);
}

}  // namespace
}  // namespace bessemer::testing

// peer_logits MODEL TOKENS OUT
//
// MODEL is a run, a checkpoint or a Hugging Face directory; TOKENS a safetensors file with int32
// "tokens" [B, T]. Writes OUT, a safetensors file with fp32 "logits" [B, T, V], computed in fp32.
#include <cstring>
#include <iostream>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "models/model.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "runtime/executor.h"
#include "train/model_directory.h"
#include "train/weights.h"

namespace bessemer {
namespace {

// Every sequence is one document from its first token to its last.
void fill(const runtime::Executor& executor, const checkpoint::TensorView& tokens) {
  const std::int64_t length = tokens.type.dim(-1);
  for (const plan::Port& port : executor.plan().program("forward").data) {
    const runtime::TensorBytes bytes = executor.data("forward", port.name);
    auto* values = bytes.as<std::int32_t>();
    if (port.name == "tokens") std::memcpy(values, tokens.bytes.data(), tokens.bytes.size());
    for (std::int64_t i = 0; i < tokens.type.elements(); ++i) {
      if (port.name == "positions") values[i] = static_cast<std::int32_t>(i % length);
      if (port.name == "visibility") {
        values[2 * i] = 0;
        values[2 * i + 1] = static_cast<std::int32_t>(length);
      }
    }
  }
}

void run(const char* directory, const char* tokens_path, const char* out) {
  const train::ModelDirectory model = train::open_model(directory);
  const checkpoint::SafetensorsFile file(tokens_path);
  const checkpoint::TensorView tokens = checkpoint::get(file, "tokens");
  require_input(tokens.type.dtype == DType::int32 && tokens.type.rank() == 2,
                "{}: tokens must be int32 [B, T]", tokens_path);
  passes::Runner runner;
  const passes::ForwardGraphs graphs = passes::compile_forward(
      models::logits_graph(model.architecture, {tokens.type.dim(0), tokens.type.dim(1)}),
      passes::Recipe::fp32, runner);
  const plan::Plan plan = plan::make_plan({&graphs.forward}, cost::describe_here());
  const runtime::Executor executor(plan);
  train::read_parameters(model.architecture, *model.tensors, train::into(executor));
  fill(executor, tokens);
  executor.run("forward");
  const runtime::TensorBytes logits = executor.result("forward", "logits");
  const checkpoint::TensorSpec spec{"logits", logits.type};
  checkpoint::write_safetensors_file(out, {&spec, 1}, [&](std::size_t) {
    return std::span<const std::byte>(logits.data, logits.bytes());
  });
}

}  // namespace
}  // namespace bessemer

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: peer_logits MODEL TOKENS OUT\n";
    return 2;
  }
  try {
    bessemer::run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "peer_logits: " << error.what() << '\n';
    return 1;
  }
  return 0;
}

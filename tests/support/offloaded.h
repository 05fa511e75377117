// Training steps with tensors in lower tiers, beside the same steps with everything on the device.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "passes/offload.h"
#include "passes/pipeline.h"
#include "runtime/executor.h"
#include "support/model_inputs.h"

namespace bessemer::testing {

inline constexpr std::int64_t kTinyVocabulary = 11;

/// The graphs of a whole training step with two micro-batches and dropout, in the order they run.
inline std::vector<ir::Graph> step_graphs(models::Architecture architecture,
                                          passes::Precision precision,
                                          passes::StashFormat stash = passes::StashFormat::same) {
  const models::BatchShape shape{2, 6};
  const ir::Graph evaluation = models::loss_graph(architecture, shape);
  architecture.dropout = 0.1;
  passes::StepOptions options;
  options.precision = precision;
  options.accumulates = true;
  options.stash = stash;
  passes::Runner runner;
  passes::StepGraphs step =
      passes::compile_step(models::loss_graph(architecture, shape), evaluation, options, runner);
  std::vector<ir::Graph> graphs;
  graphs.push_back(std::move(step.accumulate_first));
  graphs.push_back(std::move(*step.accumulate));
  graphs.push_back(std::move(step.update));
  if (!step.refresh.nodes().empty()) graphs.push_back(std::move(step.refresh));
  graphs.push_back(std::move(*step.evaluate));
  return graphs;
}

inline std::vector<const ir::Graph*> pointers_to(const std::vector<ir::Graph>& graphs) {
  std::vector<const ir::Graph*> all;
  for (const ir::Graph& graph : graphs) all.push_back(&graph);
  return all;
}

inline std::vector<ir::Graph> offloaded(const std::vector<ir::Graph>& graphs,
                                        const passes::OffloadOptions& options,
                                        const cost::MachineDescription& machine) {
  const passes::TierMap tiers = passes::choose_tiers(pointers_to(graphs), options);
  passes::Runner runner;
  std::vector<ir::Graph> all;
  for (const ir::Graph& graph : graphs) {
    all.push_back(runner.run(graph, {{"offload", [&](ir::Graph g) {
                                        return passes::offload(std::move(g), tiers, options,
                                                               machine);
                                      }}}));
  }
  return all;
}

/// A plan and its executor, filled and fed by names.
class PlannedStep {
 public:
  PlannedStep(std::vector<ir::Graph> graphs, const cost::MachineDescription& machine,
              runtime::ExecutorOptions options = {}, const plan::PlanOptions& plan_options = {})
      : graphs_(std::move(graphs)),
        plan_(plan::make_plan(pointers_to(graphs_), machine, plan_options)),
        executor_(plan_, with_directory(std::move(options))) {}

  /// Of the tokens drawn.
  void set_vocabulary(std::int64_t vocabulary) { vocabulary_ = vocabulary; }

  const std::vector<ir::Graph>& graphs() const { return graphs_; }
  const plan::Plan& plan() const { return plan_; }
  const runtime::Executor& executor() const { return executor_; }

  /// Parameters drawn from `seed`, all else zero.
  void start(std::uint64_t seed) const {
    for (const plan::CatalogEntry& entry : plan_.catalog) {
      Tensor value(entry.type);
      std::memset(value.data(), 0, entry.type.bytes());
      if (entry.role == ir::Role::parameter) {
        value = value_for({0, entry.role, entry.name}, entry.type, vocabulary_, seed);
      }
      executor_.write(entry.name,
                      {static_cast<const std::byte*>(value.data()), entry.type.bytes()});
    }
    if (executor_.find("refresh").valid()) executor_.run("refresh");
  }

  /// The state of the other, which has the same tensors.
  void start_as(const PlannedStep& other) const {
    for (const auto& [name, bytes] : other.state()) executor_.write(name, bytes);
  }

  /// Runs all programs once, with data drawn from `seed`; their results by "PROGRAM/name".
  std::map<std::string, std::vector<std::byte>> step(std::uint64_t seed) const {
    std::map<std::string, std::vector<std::byte>> results;
    for (const ir::Graph& graph : graphs_) {
      for (const ir::Input& input : graph.inputs()) {
        if (input.role != ir::Role::data) continue;
        const Tensor value = value_for(input, graph.type(input.value), vocabulary_, seed);
        std::memcpy(executor_.data(graph.name(), input.name).data, value.data(),
                    graph.type(input.value).bytes());
      }
      executor_.run(graph.name());
      for (const plan::Port& port : plan_.program(graph.name()).results) {
        const runtime::TensorBytes bytes = executor_.result(graph.name(), port.name);
        results[graph.name() + "/" + port.name].assign(bytes.data, bytes.data + bytes.bytes());
      }
    }
    return results;
  }

  std::map<std::string, std::vector<std::byte>> state() const {
    std::map<std::string, std::vector<std::byte>> state;
    for (const plan::CatalogEntry& entry : plan_.catalog) {
      auto& bytes = state[entry.name];
      bytes.resize(entry.type.bytes());
      executor_.read(entry.name, bytes);
    }
    return state;
  }

 private:
  // In memory where the system has such a place: what is tested here is not the disk.
  static runtime::ExecutorOptions with_directory(runtime::ExecutorOptions options) {
    if (!options.file_directory.empty()) return options;
    const std::filesystem::path memory = "/dev/shm";
    options.file_directory =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    return options;
  }

  std::int64_t vocabulary_ = kTinyVocabulary;
  std::vector<ir::Graph> graphs_;
  plan::Plan plan_;
  runtime::Executor executor_;
};

/// Some steps of both, which must agree in every result and every persistent tensor, bit for bit.
inline void expect_same_steps(const PlannedStep& a, const PlannedStep& b, const std::string& what,
                              std::uint64_t steps = 3) {
  a.start(1);
  b.start_as(a);
  for (std::uint64_t seed = 0; seed < steps && !::testing::Test::HasFailure(); ++seed) {
    const auto of_a = a.step(seed), of_b = b.step(seed);
    for (const auto& [name, bytes] : of_a) {
      EXPECT_EQ(of_b.at(name), bytes) << what << ", step " << seed << ": " << name;
    }
  }
  const auto state_a = a.state(), state_b = b.state();
  ASSERT_EQ(state_a.size(), state_b.size()) << what;
  for (const auto& [name, bytes] : state_a)
    EXPECT_EQ(state_b.at(name), bytes) << what << ": " << name;
}

}  // namespace bessemer::testing

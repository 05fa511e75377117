// The same graphs run twice: by an executor on a plan, and node by node without one. All bits must
// agree.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "support/graph_runner.h"

namespace bessemer::testing {

/// Persistent tensors by name, and graphs that change them.
class Unplanned {
 public:
  explicit Unplanned(NamedTensors state) : state_(std::move(state)) {}

  /// Runs the graph with the same choice of kernels as a plan; keeps its writes, returns results.
  NamedTensors run(const ir::Graph& graph, const NamedTensors& data) {
    NamedTensors inputs = data;
    for (const ir::Input& input : graph.inputs()) {
      if (ir::is_persistent(input.role)) inputs.emplace(input.name, state_.at(input.name));
    }
    NamedTensors outputs = run_graph(graph, inputs, KernelChoice::first_accepting);
    for (const ir::Output& output : graph.outputs()) {
      if (output.kind != ir::Output::Kind::write) continue;
      state_.insert_or_assign(output.name, outputs.at(output.name));
      outputs.erase(output.name);
    }
    return outputs;
  }

  const NamedTensors& state() const { return state_; }

 private:
  NamedTensors state_;
};

inline void set_bytes(const runtime::TensorBytes& to, const Tensor& from) {
  require(to.type == from.type(), "{} set from {}", to_string(to.type), to_string(from.type()));
  std::memcpy(to.data, from.data(), to.bytes());
}

inline bool same_bytes(const runtime::TensorBytes& a, const Tensor& b) {
  return a.type == b.type() && std::memcmp(a.data, b.data(), a.bytes()) == 0;
}

/// Hands `data` to the program of that graph, runs it on both sides and compares its results and
/// every persistent tensor of the plan.
inline void expect_same_run(const runtime::Executor& executor, Unplanned& unplanned,
                            const ir::Graph& graph, const NamedTensors& data,
                            const std::string& what) {
  for (const ir::Input& input : graph.inputs()) {
    if (input.role == ir::Role::data) {
      set_bytes(executor.data(graph.name(), input.name), data.at(input.name));
    }
  }
  executor.run(graph.name());
  for (const auto& [name, value] : unplanned.run(graph, data)) {
    EXPECT_TRUE(same_bytes(executor.result(graph.name(), name), value)) << what << ": " << name;
  }
  for (const plan::CatalogEntry& entry : executor.plan().catalog) {
    EXPECT_TRUE(same_bytes(executor.tensor(entry.name), unplanned.state().at(entry.name)))
        << what << ": " << entry.name;
  }
}

/// Both sides start from `state`; tensors it does not have start as zeros.
inline Unplanned start_alike(const runtime::Executor& executor, const NamedTensors& state) {
  NamedTensors all;
  for (const plan::CatalogEntry& entry : executor.plan().catalog) {
    const auto at = state.find(entry.name);
    Tensor value = at == state.end() ? Tensor(entry.type) : at->second;
    if (at == state.end()) std::memset(value.data(), 0, entry.type.bytes());
    set_bytes(executor.tensor(entry.name), value);
    all.emplace(entry.name, std::move(value));
  }
  return Unplanned(std::move(all));
}

}  // namespace bessemer::testing

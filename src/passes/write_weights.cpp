#include "passes/write_weights.h"

#include <string>

#include "ops/builder.h"

namespace bessemer::passes {
namespace {

struct Rounded {
  const ir::Output* weight = nullptr;
  TensorType type;
};

// The weight that is a cast of `parameter`, if there is one.
Rounded rounded(const ir::Graph& refresh, const std::string& parameter) {
  const ir::Input* input = refresh.find_input(parameter);
  if (input == nullptr) return {};
  for (const ir::Node& node : refresh.nodes()) {
    if (node.op != "cast" || node.operands[0] != input->value) continue;
    for (const ir::Output& output : refresh.outputs()) {
      if (output.value == node.results[0]) return {&output, refresh.type(output.value)};
    }
  }
  return {};
}

const ir::Input* input_of(const ir::Graph& graph, ir::ValueId value) {
  for (const ir::Input& input : graph.inputs()) {
    if (input.value == value) return &input;
  }
  return nullptr;
}

}  // namespace

ir::Graph write_weights(ir::Graph update, const ir::Graph& refresh) {
  for (std::size_t i = 0; i < update.nodes().size(); ++i) {
    if (update.nodes()[i].op != "adamw_update") continue;
    const ir::Input* parameter = input_of(update, update.nodes()[i].operands[0]);
    const Rounded made = parameter == nullptr ? Rounded{} : rounded(refresh, parameter->name);
    if (made.weight == nullptr) continue;
    const ir::ValueId home = update.add_value("weight", made.type);
    update.bind_input({home, ir::Role::weight, made.weight->name});
    const ir::ValueId weight = update.add_value("weight", made.type);
    ir::Node& node = update.nodes()[i];
    node.attributes.set("weight", std::string(name_of(made.type.dtype)));
    node.results.push_back(weight);
    update.add_write(made.weight->name, weight);
  }
  return update;
}

ir::Graph rest_of_refresh(ir::Graph refresh, const ir::Graph& update) {
  refresh.set_name("refresh_rest");
  const auto is_written = [&](const auto& of_refresh) {
    return update.find_output(of_refresh.name) != nullptr;
  };
  std::erase_if(refresh.outputs(), is_written);
  std::erase_if(refresh.inputs(), [&](const ir::Input& input) {
    return input.role == ir::Role::weight && is_written(input);
  });
  return ir::without_dead_nodes(std::move(refresh));
}

}  // namespace bessemer::passes

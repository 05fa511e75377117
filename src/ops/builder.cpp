#include "ops/builder.h"

#include "base/error.h"
#include "ir/text.h"

namespace bessemer::ops {

std::vector<ir::ValueId> Builder::all(std::string_view op, std::vector<ir::ValueId> operands,
                                      Attributes attributes) {
  while (!operands.empty() && operands.back() == ir::kAbsent) operands.pop_back();
  ir::Node node{std::string(op), std::move(operands), {}, std::move(attributes), label_};
  std::vector<TensorType> types;
  try {
    types = definition_of(op).infer(use_of(graph_, node));
  } catch (const Error& error) {
    fail("{}: {}", ir::print_node(graph_, node), error.what());
  }
  return graph_.add_node(std::move(node), types);
}

}  // namespace bessemer::ops
